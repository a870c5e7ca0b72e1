"""Compares an answer with a recorded one: status, headers that matter, members, kinds of values, words."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RECORDED: Final = HERE / "recorded"
PROTOCOL: Final = "x-rxon-version"

WORDS: Final = frozenset(
    {"status", "transition", "reason", "error", "event_type", "method", "version"}
    | {"current_state", "state", "previous_state", "next_state"}
)
"""Members whose texts are part of the protocol. Any other text is somebody's data."""

DATA: Final = frozenset({"params", "initial_data", "state_history", "tracing_context", "result", "jobs"})
"""Members whose content is the users' own: that they are there is compared, and that they are objects."""

STATE: Final = frozenset(
    {"id", "blueprint_name", "current_state", "initial_data", "state_history", "status", "tracing_context"}
    | {"webhook_url", "dispatch_timeout", "result_timeout", "metadata", "policy", "max_transitions"}
    | {"retry_count", "step", "aggregation_results", "current_task_id", "current_task_info"}
    | {"current_task_transitions", "current_task_event_transitions", "assigned_worker_id", "task_worker_id"}
    | {"task_dispatched_at", "task_picked_up_at", "dispatch_deadline", "result_deadline"}
    | {"execution_timeout_seconds", "progress", "progress_message", "aggregation_target", "active_branches"}
    | {"parallel_tasks_info", "child_job_id", "parent_job_id", "depth", "result", "error_message"}
    | {"timestamp", "created_at", "updated_at"}
)
"""What the documents name of a job's state: a member of these may be there where it was not recorded."""

NUMBERS: Final = frozenset({"<now>"})


def recording(name: str) -> list[dict[str, Any]]:
    """The exchanges of one recorded file."""
    found: list[dict[str, Any]] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def differences(
    recorded: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes, ids: Mapping[str, str]
) -> set[str]:
    """Every way in which an answer is not the recorded one, a sentence each; `ids` become masks again."""
    found: set[str] = set()
    if status != recorded["status"]:
        found.add(f"status {status}, not {recorded['status']}")
    told = recorded.get("headers", {})
    if PROTOCOL in told and headers.get(PROTOCOL) != told[PROTOCOL]:
        found.add(f"{PROTOCOL} is {headers.get(PROTOCOL)}")
    kind, was = (_kind_of_content(each.get("content-type")) for each in (headers, told))
    if "content-type" in told and kind != was:
        found.add(f"{kind}, not {was}")
    try:
        live = json.loads(_masked(body.decode(), ids)) if body else None
    except json.JSONDecodeError:
        live = _masked(body.decode(), ids).strip()
    expected = recorded.get("body")
    if status // 100 != recorded["status"] // 100:
        return found | {_instead(live)}
    if isinstance(expected, dict) == isinstance(live, dict) and not recorded.get("cut"):
        found.update(_differ(expected, live, "", ""))
    elif not recorded.get("cut"):
        found.add(f"body is {_kind(live)}, not {_kind(expected)}")
    return found


def _instead(live: Any) -> str:
    """What is there in place of a body of another meaning."""
    if isinstance(live, dict):
        return f"error {live['error']!r}" if "error" in live else f"members {', '.join(sorted(live))}"
    return _kind(live)


def _kind_of_content(text: str | None) -> str | None:
    return None if text is None else text.partition(";")[0]


def _masked(text: str, ids: Mapping[str, str]) -> str:
    """The text as recordings are kept: ids by what they stand for."""
    for name, value in sorted(ids.items(), key=lambda item: -len(item[1])):
        text = text.replace(value, f"<{name}>")
    return _UUID.sub("<job>", _TASK.sub("<task>", text))


def _differ(recorded: Any, live: Any, path: str, name: str) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(live, dict):
        if name in DATA:
            return
        for member in sorted(recorded.keys() - live.keys()):
            yield f"no {path}{member}"
        for member in sorted(live.keys() - recorded.keys()):
            if not (member in STATE and "state_history" in recorded):
                yield f"also {path}{member}"
        for member in sorted(recorded.keys() & live.keys()):
            yield from _differ(recorded[member], live[member], f"{path}{member}.", member)
    elif isinstance(recorded, list) and isinstance(live, list):
        if recorded and live:
            yield from _differ(recorded[0], live[0], f"{path}0.", name)
    elif _kind(recorded) != _kind(live) and not (_kind(recorded) == "number" and _kind(live) == "integer"):
        if name not in DATA:
            yield f"{path[:-1] or 'body'} is {_kind(live)}, not {_kind(recorded)}"
    elif isinstance(recorded, str) and (name in WORDS or not name) and recorded != live:
        yield f"{path[:-1] or 'body'} is {live!r}, not {recorded!r}"


def _kind(value: Any) -> str:
    if isinstance(value, str) and value in NUMBERS:
        return "integer"
    return _KINDS[type(value)]


_KINDS: Final[Mapping[type, str]] = {
    int: "integer",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
    bool: "boolean",
    type(None): "nothing",
}
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TASK: Final = re.compile(r"task-[0-9a-f]{32}-\d+-\d+")
