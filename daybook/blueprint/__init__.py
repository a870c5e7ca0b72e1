"""Workflows written in Python. `from daybook import Blueprint`."""

from daybook.blueprint.actions import Actions
from daybook.blueprint.blueprint import Blueprint
from daybook.blueprint.conditions import Condition, F
from daybook.blueprint.context import JobContext
from daybook.blueprint.loading import Catalog, Loaded, load_blueprints
from daybook.blueprint.state_machine import StateMachineBlueprint

__all__ = [
    "Actions",
    "Blueprint",
    "Catalog",
    "Condition",
    "F",
    "JobContext",
    "Loaded",
    "StateMachineBlueprint",
    "load_blueprints",
]
