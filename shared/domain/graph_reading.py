"""Reads the nodes of a graph document; what is wrong is collected as sentences that name the node."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from shared.domain.errors import InvalidValue
from shared.domain.graph_nodes import (
    DEFAULT_MAX_ITERATIONS,
    DEFAULT_PORT,
    End,
    Fork,
    Inline,
    Join,
    Loop,
    Node,
    Route,
    Scope,
    Start,
    State,
    Subflow,
    Task,
    Wait,
    port_name,
)
from shared.domain.placement import needs_of
from shared.domain.retry import RetryPolicy
from shared.domain.template import Template, expression_of
from shared.domain.values import LEAST_URGENT, LONGEST_SECONDS, MOST_URGENT, Json

RESERVED: Final = ("source", "sink")


def read_node(name: str, document: Json, problems: list[str]) -> Node | None:
    """The node, or None when it has problems; each is added to `problems`."""
    if not isinstance(document, dict):
        problems.append(f"node {name!r}: must be an object")
        return None
    kind = document.get("kind")
    if kind in RESERVED:
        problems.append(f"node {name!r}: the kind {kind!r} is not supported yet")
        return None
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        problems.append(f"node {name!r}: there is no kind {kind!r}; there are {', '.join(_READERS)}")
        return None
    fields = Fields(name, document)
    node = reader(fields)
    problems.extend(fields.finish())
    return None if fields.problems else node


def limits_of(concurrency: Json, rate: Json) -> tuple[dict[str, Json], ...]:
    """The limits that a job or a node sets, in the form that tasks carry. Raises InvalidValue."""
    limits: list[dict[str, Json]] = []
    for what, value, keys in (
        ("concurrency", concurrency, {"key", "limit"}),
        ("rate", rate, {"key", "limit", "per_seconds"}),
    ):
        if value is None:
            continue
        if not isinstance(value, dict) or value.keys() != keys:
            raise InvalidValue(f"{what} must be an object of {', '.join(sorted(keys))}")
        if not isinstance(value["key"], str) or not value["key"]:
            raise InvalidValue(f"{what}: key must be a text")
        limit = value["limit"]
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidValue(f"{what}: limit must be a whole number of at least 1")
        per = value.get("per_seconds", 1)
        if isinstance(per, bool) or not isinstance(per, int | float) or not 0 < per <= LONGEST_SECONDS:
            raise InvalidValue(f"{what}: per_seconds must be a number above 0")
        limits.append(dict(value))
    return tuple(limits)


class Fields:
    """The fields of one node: typed reads that collect problems, and a check that none was overlooked."""

    def __init__(self, name: str, document: Mapping[str, Json]) -> None:
        self.name = name
        self.problems: list[str] = []
        self._document = document
        self._read = {"kind", "meta"}

    def finish(self) -> list[str]:
        """All problems, unknown fields included."""
        for unknown in self._document.keys() - self._read:
            self.complain(f"unknown field {unknown!r}")
        return self.problems

    def complain(self, what: str) -> None:
        self.problems.append(f"node {self.name!r}: {what}")

    def json(self, key: str) -> Json:
        self._read.add(key)
        return self._document.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty text; without a default it is required."""
        value = self.json(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or not value or len(value) > 200:
            self.complain(f"{key} must be a text of 1 to 200 characters")
            return ""
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.json(key) is None else self.text(key)

    def number(self, key: str) -> float | None:
        value = self.json(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_SECONDS:
            self.complain(f"{key} must be a number above 0")
            return None
        return value

    def whole(self, key: str, default: int, least: int = 1, most: int = 1_000_000) -> int:
        value = self.json(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.complain(f"{key} must be a whole number from {least} to {most}")
            return default
        return value

    def flag(self, key: str) -> bool:
        value = self.json(key)
        if value is not None and not isinstance(value, bool):
            self.complain(f"{key} must be true or false")
        return value is True

    def template(self, key: str) -> Template | None:
        """None when the field is absent; a null that is there is a value."""
        value = self.json(key)
        return Template.of(value) if key in self._document else None

    def retry(self) -> dict[str, Json] | None:
        value = self.json("retry")
        if value is None:
            return None
        if not isinstance(value, dict):
            self.complain("retry must be an object")
            return None
        try:
            RetryPolicy.of(value)
        except InvalidValue as error:
            self.complain(str(error))
        return value

    def limits(self) -> tuple[dict[str, Json], ...]:
        try:
            return limits_of(self.json("concurrency"), self.json("rate"))
        except InvalidValue as error:
            self.complain(str(error))
            return ()

    def placement(self) -> dict[str, Json] | None:
        value = self.json("placement")
        if value is not None and not isinstance(value, dict):
            self.complain("placement must be an object")
            return None
        try:
            needs_of(value or {})
        except InvalidValue as error:
            self.complain(str(error))
        return value or None

    def failures(self) -> Literal["fail", "collect"]:
        value = self.text("failures", "fail")
        if value == "collect":
            return "collect"
        if value != "fail":
            self.complain("failures must be fail or collect")
        return "fail"


def _start(fields: Fields) -> Node:
    return Start(fields.name)


def _end(fields: Fields) -> Node:
    outcome = fields.text("outcome", "succeeded")
    if outcome not in ("succeeded", "failed"):
        fields.complain("outcome must be succeeded or failed")
    return End(fields.name, "failed" if outcome == "failed" else "succeeded", fields.template("output"))


def _state(fields: Fields) -> Node:
    fields.json("transitions")  # they are edges; the graph reads them
    return State(fields.name, fields.text("handler", fields.name), fields.retry())


def _task(fields: Fields) -> Node:
    urgency = fields.whole("urgency", -1, LEAST_URGENT, MOST_URGENT)
    return Task(
        fields.name,
        fields.text("skill"),
        input=fields.template("input"),
        retry=fields.retry(),
        run_timeout=fields.number("run_timeout"),
        dispatch_timeout=fields.number("dispatch_timeout"),
        limits=fields.limits(),
        claim=fields.flag("claim"),
        urgency=None if urgency < 0 else urgency,
        placement=fields.placement(),
    )


def _inline(fields: Fields) -> Node:
    values = fields.json("set")
    if not isinstance(values, dict) or expression_of(values) is not None:
        fields.complain("set must be an object of names and values")
    return Inline(fields.name, Template.of(values))


def _route(fields: Fields) -> Node:
    cases: list[tuple[str, str]] = []
    listed = fields.json("cases")
    if not isinstance(listed, list):
        fields.complain("cases must be a list")
        listed = []
    for case in listed:
        if not isinstance(case, dict) or case.keys() - {"when", "port"}:
            fields.complain("a case must be an object of when and port")
            continue
        when, port = case.get("when"), case.get("port", DEFAULT_PORT)
        if not isinstance(when, str) or not isinstance(port, str):
            fields.complain("when and port of a case must be texts")
            continue
        cases.append((when, port_name(port)))
    return Route(fields.name, tuple(cases), port_name(fields.text("default", DEFAULT_PORT)))


def _fork(fields: Fields) -> Node:
    return Fork(fields.name, fields.optional_text("join"))


def _join(fields: Fields) -> Node:
    wait = fields.json("wait")
    merge = fields.text("merge", "by_node")
    policy: int | Literal["all", "any"] = "all"
    if wait == "any":
        policy = "any"
    elif isinstance(wait, int) and not isinstance(wait, bool) and wait >= 1:
        policy = wait
    elif wait not in (None, "all"):
        fields.complain("wait must be all, any or a number of at least 1")
    how: Literal["by_node", "list", "keys"] = "by_node"
    if merge == "list":
        how = "list"
    elif merge == "keys":
        how = "keys"
    elif merge != "by_node":
        fields.complain("merge must be by_node, list or keys")
    return Join(fields.name, policy, how, fields.failures())


def _loop(fields: Fields) -> Node:
    over, condition = fields.template("over"), fields.optional_text("while")
    if over is not None and over.value is None:
        over = None
    if (over is None) == (condition is None):
        fields.complain("a loop needs over or while, and not both")
    elif over is not None and not over.dynamic and not isinstance(over.value, list):
        fields.complain("over must be a list or an expression")
    width = fields.whole("width", 1, 1, 1000)
    if condition is not None and width > 1:
        fields.complain("a loop with while goes one at a time: width must be 1")
    bound = fields.whole("max_iterations", DEFAULT_MAX_ITERATIONS)
    return Loop(fields.name, over, condition, width, bound, fields.failures())


def _wait(fields: Fields) -> Node:
    what = fields.text("for")
    timeout, seconds = fields.number("timeout"), fields.template("seconds")
    signal, message = fields.text("name", fields.name), fields.optional_text("message")
    decisions = fields.json("decisions") or []
    if not isinstance(decisions, list) or not all(isinstance(word, str) and word for word in decisions):
        fields.complain("decisions must be a list of texts")
        decisions = []
    words = tuple(word for word in decisions if isinstance(word, str))
    if words and what != "approval":
        fields.complain("only an approval has decisions")
    if what == "approval":
        return Wait(fields.name, "approval", signal, None, timeout, words, message)
    if what == "signal":
        return Wait(fields.name, "signal", signal, None, timeout, (), message)
    if what != "timer":
        fields.complain("for must be approval, signal or timer")
    elif seconds is None or not (seconds.dynamic or _is_delay(seconds.value)):
        fields.complain("a timer needs seconds, a number of at least 0 or an expression")
    return Wait(fields.name, "timer", signal, seconds)


def _is_delay(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_SECONDS


def _subflow(fields: Fields) -> Node:
    version = fields.whole("version", 0)
    return Subflow(fields.name, fields.text("workflow"), version or None, fields.template("input"))


def _scope(fields: Fields) -> Node:
    return Scope(fields.name)


_READERS: Final[dict[str, Callable[[Fields], Node]]] = {
    "start": _start,
    "end": _end,
    "state": _state,
    "task": _task,
    "inline": _inline,
    "route": _route,
    "fork": _fork,
    "join": _join,
    "loop": _loop,
    "wait": _wait,
    "subflow": _subflow,
    "scope": _scope,
}
