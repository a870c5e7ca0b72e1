"""The API's calls as values: what to send, and what the answer means. Both clients send the same calls."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, Unpack
from urllib.parse import quote
from uuid import UUID

import httpx
import orjson

from daybook.client import models
from daybook.client.models import Changed, Event, Job, JobOptions, Page, Submitted, Worker, Workflow
from daybook.environment import secret
from daybook.errors import ApiError, DaybookError, ServerUnreachable, api_error
from shared.application.ids import new_id

T = TypeVar("T")
JobId = UUID | str
Item = Mapping[str, Any]

DEFAULT_URL = "http://127.0.0.1:8000"
MAX_WAIT_SECONDS = 300.0
SILENCE_SECONDS = 45.0
"""A watched stream says something every 15 s; after this long without a word the connection is dead."""
RETRIED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. `repeatable` means that sending it twice does the same as once."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: bytes | None = None
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    patience_seconds: float = 0.0

    def request(self, timeout: float) -> dict[str, Any]:
        """What httpx is to send; the answer may take `timeout` seconds and the call's own patience."""
        json = {} if self.body is None else {"Content-Type": "application/json"}
        return {
            "method": self.method,
            "url": self.path,
            "params": list(self.params),
            "content": self.body,
            "headers": {**self.headers, **json},
            "timeout": timeout + self.patience_seconds,
        }

    def answer(self, response: httpx.Response) -> T:
        """The meaning of a response; raises ApiError."""
        if response.is_success:
            return self.read(orjson.loads(response.content))
        raise problem_of(response)


def origin(url: str | None, token: str | None) -> tuple[str, dict[str, str]]:
    """The server's address and the headers of every request, from arguments or the environment."""
    address = (url or os.environ.get("DAYBOOK_URL") or DEFAULT_URL).rstrip("/")
    bearer = token if token is not None else secret("DAYBOOK_CLIENT_TOKEN")
    if not (bearer.isascii() and bearer.isprintable()):
        raise DaybookError("the token has characters that no HTTP header can carry")
    return address, {"Authorization": f"Bearer {bearer}"} if bearer else {}


def stream(job_id: JobId, last_event_id: str, timeout: float, left: float | None) -> dict[str, Any]:
    """What httpx is to send for the events of a job behind the last that is known ("" for none); `left` is
    how many seconds they are watched, None for ever.
    """
    headers = {"Accept": "text/event-stream"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    silence = SILENCE_SECONDS if left is None else max(0.05, min(SILENCE_SECONDS, left))
    return {
        "method": "GET",
        "url": job_path(job_id, "events"),
        "headers": headers,
        "timeout": httpx.Timeout(timeout, read=silence),
    }


def problem_of(response: httpx.Response) -> ApiError:
    """The error that a response is. Its body has been read."""
    problem: dict[str, Any] = {}
    if "json" in response.headers.get("content-type", ""):
        try:
            found = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict):
            problem = found
    if "title" not in problem:
        problem = {**problem, "title": response.reason_phrase or "no reason given"}
    return api_error(response.status_code, problem, response.headers.get("retry-after"))


def pause_before(call: Call[Any], attempt: int, retries: int, failure: Exception) -> float | None:
    """Seconds to wait before the call is sent again, None when it must not be."""
    if attempt > retries or not call.repeatable:
        return None
    grown: float = min(0.1 * 2**attempt, 2.0)
    if isinstance(failure, ApiError) and failure.status in RETRIED:
        told = failure.retry_after_seconds
        return grown if told is None else min(told, 10.0)
    return grown if isinstance(failure, ServerUnreachable) else None


def submit(
    workflow: str | None,
    skill: str | None,
    input: Mapping[str, Any] | None,  # noqa: A002 (the word of the API)
    key: str | None,
    options: JobOptions,
) -> Call[Submitted]:
    body = orjson.dumps(order(workflow=workflow, skill=skill, input=input, **options))
    headers = {"Idempotency-Key": key or str(new_id())}
    return Call("POST", "/v1/jobs", models.submitted_of, body, headers=headers)


def run(submitting: Call[Submitted], seconds: float) -> Call[Job | Submitted]:
    """The same submit, answered with the ended job if it ends within `seconds`."""
    seconds = max(1, min(int(seconds), int(MAX_WAIT_SECONDS)))
    return Call(
        "POST",
        submitting.path,
        lambda answer: models.job_of(answer) if "created_at" in answer else models.submitted_of(answer),
        submitting.body,
        headers={**submitting.headers, "Prefer": f"wait={seconds}"},
        patience_seconds=seconds,
    )


def submit_many(jobs: Iterable[Item], key: str | None) -> Call[list[Submitted | ApiError]]:
    body = orjson.dumps({"jobs": [order(**job) for job in jobs]})
    return Call(
        "POST",
        "/v1/jobs/bulk",
        lambda answer: [models.item_of(item) for item in answer["items"]],
        body,
        headers={"Idempotency-Key": key or str(new_id())},
        patience_seconds=30.0,
    )


def order(
    *,
    workflow: str | None = None,
    skill: str | None = None,
    input: Mapping[str, Any] | None = None,  # noqa: A002 (the word of the API)
    **options: Unpack[JobOptions],
) -> dict[str, Any]:
    """The body of one submit; options that are None are left to the server."""
    if (workflow is None) == (skill is None):
        raise ValueError("give one of workflow and skill")
    said: dict[str, Any] = {"workflow": workflow, "skill": skill, "input": input, **options}
    return {name: value for name, value in said.items() if value is not None}


def get(job_id: JobId, min_sequence: int = 0) -> Call[Job]:
    params = [("min_sequence", str(min_sequence))] if min_sequence else []
    return Call("GET", job_path(job_id), models.job_of, params=params)


def page(filters: Sequence[tuple[str, str]], limit: int, cursor: str | None) -> Call[Page]:
    params = [*filters, ("limit", str(limit))]
    if cursor is not None:
        params.append(("cursor", cursor))
    return Call("GET", "/v1/jobs", models.page_of, params=params)


def filters(
    status: str | Iterable[str] | None,
    workflow: str | None,
    skill: str | None,
    tags: Mapping[str, str] | None,
    parent: JobId | None,
) -> list[tuple[str, str]]:
    statuses = [status] if isinstance(status, str) else list(status or [])
    found = [("status", word) for word in statuses]
    found += [
        (name, value) for name, value in (("workflow", workflow), ("skill", skill)) if value is not None
    ]
    found += [("tag", f"{name}={value}") for name, value in (tags or {}).items()]
    if parent is not None:
        found.append(("parent", str(parent)))
    return found


def history(job_id: JobId) -> Call[list[Event]]:
    return Call(
        "GET", job_path(job_id, "history"), lambda answer: [models.event_of(event) for event in answer]
    )


def command(
    job_id: JobId, verb: str, body: Mapping[str, Any] | None = None, *, twice: bool = True
) -> Call[Changed]:
    """A command to a job. `twice` says that repeating it changes nothing."""
    said = {name: value for name, value in (body or {}).items() if value is not None}
    return Call("POST", job_path(job_id, verb), models.changed_of, orjson.dumps(said), repeatable=twice)


def signal(job_id: JobId, name: str, payload: Any) -> Call[Changed]:
    body = orjson.dumps({"payload": payload})
    path = job_path(job_id, f"signals/{quote(name, safe='')}")
    return Call("POST", path, models.changed_of, body, repeatable=False)


def retry(job_id: JobId, key: str | None) -> Call[Submitted]:
    headers = {"Idempotency-Key": key or str(new_id())}
    return Call("POST", job_path(job_id, "retry"), models.submitted_of, b"{}", headers=headers)


def publish_workflow(name: str, graph: Mapping[str, Any]) -> Call[Workflow]:
    path = f"/v1/workflows/{quote(name, safe='')}"
    return Call("PUT", path, models.workflow_of, orjson.dumps({"graph": graph}))


def workflow(name: str, version: int | None) -> Call[Workflow]:
    params = [("version", str(version))] if version is not None else []
    return Call("GET", f"/v1/workflows/{quote(name, safe='')}", models.workflow_of, params=params)


def workflows() -> Call[list[Workflow]]:
    return Call("GET", "/v1/workflows", lambda answer: [models.workflow_of(item) for item in answer["items"]])


def workers() -> Call[list[Worker]]:
    return Call("GET", "/v1/workers", lambda answer: [models.worker_of(item) for item in answer["items"]])


def stats() -> Call[dict[str, Any]]:
    return Call("GET", "/v1/stats", dict)


def health(kind: str) -> Call[dict[str, Any]]:
    return Call("GET", f"/v1/health/{kind}", dict, repeatable=False)


def job_path(job_id: JobId, tail: str | None = None) -> str:
    """Raises ValueError when `job_id` is not a UUID."""
    path = f"/v1/jobs/{UUID(str(job_id))}"
    return path if tail is None else f"{path}/{tail}"
