"""What the tests of the domain say it with."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.domain.errors import ExpressionError
from shared.domain.graph import Graph
from shared.domain.job import Facts, Job, JobSpec, TaskError, Verdict
from shared.domain.job.events import JobEvent
from shared.domain.values import Json

ID = UUID(int=1)
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
BROKEN = TaskError("permanent", "broken")
FLAKY = TaskError("transient", "try again")


def evaluate(expression: str, variables: Mapping[str, Json]) -> Json:
    """A stand-in for CEL: true, false, paths (`input.a`), and comparisons with a number (`index < 3`)."""
    for sign in (" < ", " > ", " == "):
        if sign in expression:
            left, right = expression.split(sign)
            value = evaluate(left, variables)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ExpressionError(expression, f"{left} is no number")
            number = float(right)
            return value < number if sign == " < " else value > number if sign == " > " else value == number
    if expression in ("true", "false"):
        return expression == "true"
    found: Json = dict(variables)
    for part in expression.split("."):
        if not isinstance(found, Mapping) or part not in found:
            raise ExpressionError(expression, f"there is no {part}")
        found = found[part]
    return found


def facts(now: datetime, graph: Graph, room: bool = True, chance: float = 0.5) -> Facts:
    return Facts(now=now, graph=graph, evaluate=evaluate, chance=chance, has_room=lambda skill: room)


def names(job: Job) -> list[str]:
    """The names of the events since the last call."""
    return [type(event).__name__ for event in job.collect_events()]


def task(skill: str = "work", **fields: Json) -> dict[str, Json]:
    return {"kind": "task", "skill": skill, **fields}


def edge(source: str, to: str, port: str | None = None, **fields: Json) -> dict[str, Json]:
    return {"from": source, "to": to, **({} if port is None else {"port": port}), **fields}


def graph(nodes: Mapping[str, Json], *edges: Json, **fields: Json) -> Graph:
    return Graph.parse({"nodes": dict(nodes), "edges": list(edges), **fields})


class Story:
    """A job that is told step by step; each step is a second, and keeps the events it made."""

    def __init__(
        self,
        graph: Graph,
        input: Json = None,  # noqa: A002
        room: bool = True,
        **spec: Any,
    ) -> None:
        self.graph, self.room, self.seconds = graph, room, 0.0
        spec.setdefault("retry", {"max_attempts": 1})
        self.job = Job.accept(ID, JobSpec(workflow="w", input=input, **spec), self.facts)
        self.history: list[JobEvent] = []

    @property
    def facts(self) -> Facts:
        return facts(NOON + timedelta(seconds=self.seconds), self.graph, room=self.room)

    def events(self) -> list[str]:
        """The names of what happened since the last call."""
        new = [event for event in self.job.collect_events() if isinstance(event, JobEvent)]
        self.history.extend(new)
        return [type(event).__name__ for event in new]

    def last(self, name: str) -> Any:
        """The last event of that name."""
        self.events()
        return next(event for event in reversed(self.history) if type(event).__name__ == name)

    def tasks(self) -> dict[str, int]:
        """The live tasks, by their nodes."""
        return {task.node: task.id for task in self.job.live_tasks.values()}

    def done(self, node: str, output: Json = None, port: str = "success") -> Verdict:
        """The live task of that node succeeds."""
        self.seconds += 1
        number = self.tasks()[node]
        attempt = self.job.tasks[number].attempt
        return self.job.succeed(number, attempt, "w1", output, self.facts, port=port)

    def fails(self, node: str, error: TaskError = BROKEN) -> Verdict:
        """The live task of that node fails."""
        self.seconds += 1
        number = self.tasks()[node]
        return self.job.fail(number, self.job.tasks[number].attempt, "w1", error, self.facts)

    def waits(self) -> dict[str, int]:
        """The live activations, by their nodes."""
        return {live.node: live.id for live in self.job.activations.values()}


def folded(events: list[JobEvent]) -> Job:
    """The job that the events make."""
    job: Any = None
    for event in events:
        job = event.mutate(job)
    assert isinstance(job, Job)
    return job
