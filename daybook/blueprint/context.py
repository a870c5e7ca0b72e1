"""A job as a handler sees it, and what its arguments may be called."""

from collections.abc import Mapping
from copy import deepcopy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from daybook.blueprint.actions import Actions
from shared.application.blueprint_words import UPDATED

if TYPE_CHECKING:
    from daybook.blueprint.files import TaskFiles

VIEW: Final = ("job_id", "input", "results", "last", "node", "workflow", "tags", "metadata", "attempt")
ARGUMENTS: Final = (
    "actions",
    "context",
    "initial_data",
    "state_history",
    "current_state",
    "aggregation_results",
    "client",
    "data_stores",
    "task_files",
    "tracing_context",
    "webhook_url",
    "policy",
    *VIEW,
)
"""What a handler may ask for by name, before the keys of the state's history and of the initial data."""


class ClientConfig(NamedTuple):
    """Who submitted the job. The token is never kept, so it is empty."""

    token: str
    plan: str
    params: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """Plan and params in one, as they stand in the table of the client."""
        return {"plan": self.plan, **self.params}


class DictStore:
    """A store that lives in the memory of the process that runs the handlers, and ends with it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    async def get(self, key: str) -> Any:
        return self._values.get(key)

    async def set(self, key: str, value: Any) -> None:
        self._values[key] = value


class JobContext(dict[str, Any]):
    """All of it in one argument, `context`. As a dictionary it holds what was kept for later handlers."""

    def __init__(
        self,
        view: Mapping[str, Any],
        actions: Actions,
        data_stores: Mapping[str, Any],
        task_files: "TaskFiles | None" = None,
    ) -> None:
        kept = deepcopy(dict(view.get("context") or {}))
        updated = kept.pop(UPDATED, [])
        super().__init__(kept)
        given = view.get("input")
        self.job_id: str = view.get("job_id", "")
        self.current_state: str = view.get("node", "")
        self.initial_data: Any = {} if given is None else given
        if updated and isinstance(self.initial_data, dict):
            updates = {name: kept[name] for name in updated if name in kept}
            self.initial_data = {**self.initial_data, **updates}
        self.state_history = kept
        client = view.get("client") or {}
        self.client = ClientConfig("", client.get("plan", "unknown"), client.get("params", {}))
        self.actions = actions
        self.data_stores = SimpleNamespace(**data_stores) if data_stores else None
        self.tracing_context: dict[str, Any] = view.get("tracing_context") or {}
        self.aggregation_results: dict[str, Any] = view.get("aggregation_results") or {}
        self.webhook_url: str | None = view.get("webhook_url")
        self.task_files = task_files
        self.policy: dict[str, Any] | None = view.get("policy")
        self._before_values = deepcopy(kept)
        self._view = view
        self._updated: list[str] = list(updated)

    def argument(self, name: str, missing: Any) -> Any:
        """The value of a handler's argument, or `missing`."""
        if name == "context":
            return self
        if name in ARGUMENTS and name not in VIEW:
            return getattr(self, name)
        for source in (self._view, self.state_history, self.initial_data):
            if isinstance(source, Mapping) and name in source:
                return source[name]
        return missing

    def changes(self) -> dict[str, Any]:
        """What the handler kept: in the state's history (None for what it removed), or by its actions."""
        before, after = self._before_values, self.state_history
        changed: dict[str, Any] = {k: v for k, v in after.items() if k not in before or before[k] != v}
        changed.update(dict.fromkeys(before.keys() - after.keys()))
        kept = self.actions.kept
        changed.update(kept)
        named = [*self._updated, *(name for name in kept if name not in self._updated)]
        if named != self._updated:
            changed[UPDATED] = named
        return changed
