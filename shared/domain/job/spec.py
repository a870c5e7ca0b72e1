"""What a decision about a job gets from outside: what was submitted, and the facts of the moment."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from shared.domain.errors import InvalidValue
from shared.domain.graph import Graph
from shared.domain.graph_reading import limits_of
from shared.domain.retry import RetryPolicy
from shared.domain.template import Evaluate
from shared.domain.values import LEAST_URGENT, LONGEST_SECONDS, MOST_URGENT, NORMAL_URGENCY, Json, to_us

S = TypeVar("S")


def any_skill_has_room(skill: str) -> bool:
    """Nothing holds tasks back."""
    return True


class Facts(NamedTuple):
    """What a decision may know beside the state.

    `now` is aware; `graph` is the one whose hash the job pins; `chance` (0..1) feeds jitter; `has_room`
    tells whether a task of a skill may be released at once, and is asked once for each such task.
    """

    now: datetime
    graph: Graph
    evaluate: Evaluate
    chance: float = 0.5
    has_room: Callable[[str], bool] = any_skill_has_room

    @property
    def now_us(self) -> int:
        return to_us(self.now)


def sparse(cls: type[S]) -> type[S]:
    """Let a frozen dataclass keep only what was said of it; every other field reads as its default.

    An __init__ that sets 27 frozen fields costs 10 µs, and what is not there need not be stored.
    """
    defaults = {field.name: field.default for field in fields(cls)}  # type: ignore[arg-type]  # it is one

    def init(self: S, **said: Any) -> None:
        for name, value in said.items():
            # KeyError for what is no field; identity, because 0 == False
            if value is not defaults[name]:
                self.__dict__[name] = value

    cls.__init__ = init  # type: ignore[assignment]  # callers are held to the dataclass's own signature
    return cls


@sparse
@dataclass(frozen=True)
class JobSpec:
    """What a client says about a job.

    `definition` is the hash of its graph ("" means that of the facts); `deadline` microseconds since the
    epoch; `dispatch_timeout` seconds that a task waits for a worker, `run_timeout` seconds that it runs;
    `concurrency` {"key", "limit"}; `rate` {"key", "limit", "per_seconds"}; `parent` {"job", "activation"};
    `retry` fields of RetryPolicy; `trace` a traceparent; `policy` {"allowed_skills"} bounds what its handlers
    may dispatch, `max_transitions` how many states it may enter, `max_depth` how deep jobs
    may be nested (None: MAX_DEPTH of the walk).
    """

    workflow: str | None = None
    version: int | None = None
    definition: str = ""
    skill: str | None = None
    input: Json = None
    tenant: str = ""
    owner: str = ""
    urgency: int = NORMAL_URGENCY
    tags: dict[str, str] | None = None
    alias: str | None = None
    origin: str = "native"
    deadline: int | None = None
    dispatch_timeout: float | None = None
    run_timeout: float | None = None
    retry: dict[str, Json] | None = None
    concurrency: dict[str, Json] | None = None
    rate: dict[str, Json] | None = None
    parent: dict[str, Json] | None = None
    depth: int = 0
    retry_of: str | None = None
    webhook_url: str | None = None
    trace: str | None = None
    native_priority: Json = None
    metadata: dict[str, Json] | None = None
    trigger: str = "api"
    policy: dict[str, Json] | None = None
    max_transitions: int | None = None
    max_depth: int | None = None

    def check(self) -> None:
        """Raises InvalidValue for a value that means nothing."""
        check_urgency(self.urgency)
        check_seconds("dispatch_timeout", self.dispatch_timeout)
        check_seconds("run_timeout", self.run_timeout)
        if self.retry:
            RetryPolicy.of(self.retry)
        if self.concurrency or self.rate:
            limits_of(self.concurrency, self.rate)
        if self.policy is not None:
            allowed_skills(self.policy)
        if self.max_transitions is not None and self.max_transitions < 1:
            raise InvalidValue(f"max_transitions must be at least 1, not {self.max_transitions}")
        if self.max_depth is not None and self.max_depth < 1:
            raise InvalidValue(f"max_depth must be at least 1, not {self.max_depth}")


def allowed_skills(policy: dict[str, Json]) -> list[str] | None:
    """The skills that a policy allows, None for all. Raises InvalidValue."""
    allowed = policy.get("allowed_skills")
    if allowed is None:
        return None
    if not isinstance(allowed, list) or not allowed or not all(isinstance(name, str) for name in allowed):
        raise InvalidValue("policy: allowed_skills must be a list of texts that is not empty")
    return [str(name) for name in allowed]


def check_urgency(urgency: object) -> None:
    """Raises InvalidValue for what is no urgency, whatever it is: handlers say anything."""
    if (
        isinstance(urgency, bool)
        or not isinstance(urgency, int)
        or not LEAST_URGENT <= urgency <= MOST_URGENT
    ):
        raise InvalidValue(f"urgency must be from {LEAST_URGENT} to {MOST_URGENT}, not {urgency!r}")


def check_seconds(name: str, seconds: object) -> None:
    """Raises InvalidValue for what is no span of time, whatever it is; None is none."""
    if seconds is None:
        return
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= LONGEST_SECONDS
    ):
        raise InvalidValue(f"{name} must be a number of seconds above 0, not {seconds!r}")


def check_text(name: str, text: object) -> None:
    """Raises InvalidValue for what is no text; None is none."""
    if text is not None and not isinstance(text, str):
        raise InvalidValue(f"{name} must be a text, not {text!r}")
