"""Daybook, for those who use it: submit jobs, run tasks, write workflows.

from daybook import Blueprint, Client, Worker
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daybook.blueprint import Actions as ActionFactory
    from daybook.blueprint import Blueprint, F, JobContext, StateMachineBlueprint
    from daybook.client import AsyncClient, Client
    from daybook.worker import Result, TaskContext, Worker

__all__ = [
    "ActionFactory",
    "AsyncClient",
    "Blueprint",
    "Client",
    "F",
    "JobContext",
    "Result",
    "StateMachineBlueprint",
    "TaskContext",
    "Worker",
]

_HOMES = {
    "ActionFactory": "daybook.blueprint",
    "AsyncClient": "daybook.client",
    "Blueprint": "daybook.blueprint",
    "Client": "daybook.client",
    "F": "daybook.blueprint",
    "JobContext": "daybook.blueprint",
    "Result": "daybook.worker",
    "StateMachineBlueprint": "daybook.blueprint",
    "TaskContext": "daybook.worker",
    "Worker": "daybook.worker",
}

_NAMES = {"ActionFactory": "Actions"}
"""Whose name at home is another one."""


def __getattr__(name: str) -> Any:
    """Load each part when it is asked for: a worker's processes need no HTTP client, a client no broker."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), _NAMES.get(name, name))
