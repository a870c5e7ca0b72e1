"""Errors of the users' package, one tree.

DaybookError
├── SkillError                  raised inside a skill, to say what the failure means
│   ├── TransientError          may pass by itself: retried by the task's retry policy
│   ├── PermanentError          will not pass: not retried
│   ├── InvalidInput            the input is wrong: not retried
│   └── ContractViolation       the output, or something agreed upon, is wrong: not retried
├── WorkerError
│   ├── ConnectionRefused       the broker does not accept the worker's credentials
│   └── HelloRefused            the dispatcher does not accept the worker
├── ApiError                    the server answered with a problem (RFC 9457)
│   ├── InvalidRequest          400, 422
│   │   └── InvalidWorkflow     422, a graph that cannot work
│   ├── Unauthorized            401
│   ├── Forbidden               403
│   ├── NotFound                404
│   ├── Conflict                409, 412: the job is not in a state that allows it
│   ├── TooLarge                413
│   ├── RateLimited             429
│   └── ServerError             5xx
├── ServerUnreachable           no answer at all
├── WaitTimeout                 the job had not ended in time; it goes on
└── BlueprintError              a blueprint, or one of its states, is wrong
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID


class DaybookError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""


class SkillError(DaybookError):
    """A failure that a skill reports. `code` is a short word for programs, `details` any JSON value."""

    kind: ClassVar[str] = "transient"

    def __init__(self, message: str = "", *, code: str | None = None, details: Any = None) -> None:
        super().__init__(message or type(self).__name__)
        self.message = message or type(self).__name__
        self.code = code
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception that crosses a process is pickled; keyword-only arguments need to be told how.
        return _rebuilt, (type(self), self.message, self.code, self.details)


class TransientError(SkillError):
    """It may pass by itself: the task is tried again, as its retry policy says."""


class PermanentError(SkillError):
    """It will not pass: the task fails at once."""

    kind = "permanent"


class InvalidInput(SkillError):
    """The input cannot be worked on: the task fails at once."""

    kind = "invalid_input"


class ContractViolation(SkillError):
    """The output, or something the parties agreed upon, is wrong: the task fails at once."""

    kind = "contract_violation"


class WorkerError(DaybookError):
    """The worker cannot work."""


class ConnectionRefused(WorkerError):
    """The broker does not accept the worker's token. Set it right and start again."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"{url} refused the worker's token; "
            "set Worker(token=…) or DAYBOOK_WORKER_TOKEN to the system's worker token"
        )
        self.url = url


class HelloRefused(WorkerError):
    """The dispatcher does not accept the worker; `reason` is its answer."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"worker {name!r} was refused: {reason}")
        self.name, self.reason = name, reason


class ApiError(DaybookError):
    """The server answered with a problem (RFC 9457). `problem` is the whole body.

    `code` is the server's stable word for it; `retry_after_seconds` is when to come again, if it said so.
    """

    retry_after_seconds: float | None = None

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or "")
        self.code = str(problem.get("code") or "")
        super().__init__(f"{status} {self.title}".strip() + (f": {self.detail}" if self.detail else ""))


class InvalidRequest(ApiError):
    """The request is wrong; `errors` says where, if the server did."""

    def __str__(self) -> str:
        told = [
            str(error["message"]) for error in self.errors if isinstance(error, dict) and "message" in error
        ]
        return "; ".join([super().__str__(), *(text for text in told if text not in self.detail)])

    @property
    def errors(self) -> Sequence[Any]:
        found = self.problem.get("errors")
        return found if isinstance(found, list) else []


class InvalidWorkflow(InvalidRequest):
    """The graph of a workflow is wrong; `errors` names the nodes."""


class Unauthorized(ApiError):
    """The token is missing or unknown."""


class Forbidden(ApiError):
    """The token is known, and may not do this."""


class NotFound(ApiError):
    """There is no such thing, or it belongs to someone else."""


class Conflict(ApiError):
    """The job (or workflow) is not in a state that allows it."""


class TooLarge(ApiError):
    """The request is larger than the server takes."""


class RateLimited(ApiError):
    """Too many requests; try again later."""


class ServerError(ApiError):
    """The server failed; nothing is wrong with the request."""


class ServerUnreachable(DaybookError):
    """No answer came. A submit may have been taken: repeat it with the same `idempotency_key`."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"no answer from {url}: {why}")
        self.url, self.why = url, why


class WaitTimeout(DaybookError):
    """The job had not ended after `seconds`. It goes on; wait again or cancel it."""

    def __init__(self, job_id: UUID, seconds: float, status: str) -> None:
        super().__init__(f"job {job_id} is {status} after {seconds:g} s")
        self.job_id, self.seconds, self.status = job_id, seconds, status


class BlueprintError(DaybookError):
    """A blueprint is wrong. `state` names the state, when it is one state's fault."""

    def __init__(self, blueprint: str, message: str, state: str | None = None) -> None:
        where = f"blueprint {blueprint!r}" + (f", state {state!r}" if state else "")
        super().__init__(f"{where}: {message}")
        self.blueprint, self.state, self.message = blueprint, state, message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.blueprint, self.message, self.state)


def api_error(status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> ApiError:
    """The error of the tree that fits an HTTP status."""
    error = _by_status(status, problem)(status, problem)
    if retry_after is not None and retry_after.isdecimal():
        error.retry_after_seconds = float(retry_after)
    return error


def _by_status(status: int, problem: Mapping[str, Any]) -> type[ApiError]:
    if problem.get("code") == "invalid_workflow":
        return InvalidWorkflow
    if status >= 500:
        return ServerError
    return {
        400: InvalidRequest,
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        412: Conflict,
        413: TooLarge,
        422: InvalidRequest,
        429: RateLimited,
    }.get(status, ApiError)


def _rebuilt(cls: type[SkillError], message: str, code: str | None, details: Any) -> SkillError:
    return cls(message, code=code, details=details)
