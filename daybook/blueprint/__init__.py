"""Workflows written in Python. `from daybook import Blueprint`."""

from daybook.blueprint.actions import Actions
from daybook.blueprint.blueprint import Blueprint
from daybook.blueprint.conditions import Condition, F
from daybook.blueprint.context import JobContext
from daybook.blueprint.drawing import dot_of
from daybook.blueprint.loading import Catalog, Loaded, load_blueprints

__all__ = [
    "Actions",
    "Blueprint",
    "Catalog",
    "Condition",
    "F",
    "JobContext",
    "Loaded",
    "dot",
    "dot_of",
    "load_blueprints",
]


def dot(blueprint: Blueprint) -> str:
    """The states of a blueprint and where they lead, as a DOT text."""
    return blueprint.dot()
