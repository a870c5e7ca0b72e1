"""What the tests of the domain say it with."""

from collections.abc import Mapping
from datetime import datetime

from shared.domain.errors import ExpressionError
from shared.domain.graph import Graph
from shared.domain.job.job import Job
from shared.domain.job.spec import Facts
from shared.domain.values import Json


def evaluate(expression: str, variables: Mapping[str, Json]) -> Json:
    """A stand-in for CEL: paths (`input.a`), a comparison with a number (`index < 3`), or a fault (`!`)."""
    for sign in ("<", ">", "=="):
        if f" {sign} " in expression:
            left, right = expression.split(f" {sign} ")
            value = evaluate(left, variables)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ExpressionError(expression, f"{left} is no number")
            return (
                value < float(right)
                if sign == "<"
                else value > float(right)
                if sign == ">"
                else value == float(right)
            )
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
