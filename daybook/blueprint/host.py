"""The process that runs handlers: `python -m daybook.blueprint.host FOLDER`.

One JSON object a line on standard input, one on standard output for each:

    {"call":"catalog"}
        {"blueprints":{NAME:{"graph":…,"file":…,"sha256":…}},"problems":[…]}
    {"call":"run","blueprint":…,"state":…,"view":{…}}
        {"action":{…}} or {"error":{"kind":…,"code":…,"message":…,"details":…}}

It ends when its input ends. A handler that never ends is ended from outside, with the process.
"""

import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from daybook.blueprint.loading import Catalog, load_blueprints
from daybook.errors import BlueprintError, SkillError


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    # What handlers print must not get between the answers: they get standard error as their output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    catalog = load_blueprints(folder)
    while line := lines.get():
        _write(answers, answer(catalog, orjson.loads(line)))


def answer(catalog: Catalog, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer to one call."""
    if asked["call"] == "catalog":
        return {
            "blueprints": {
                name: {"graph": loaded.graph, "file": loaded.file, "sha256": loaded.sha256}
                for name, loaded in catalog.blueprints.items()
            },
            "problems": [str(problem) for problem in catalog.problems],
        }
    name, state = asked["blueprint"], asked["state"]
    loaded = catalog.blueprints.get(name)
    try:
        if loaded is None:
            raise BlueprintError(name, "there is no such blueprint (any more)")
        return {"action": loaded.blueprint.run_handler(state, asked["view"])}
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a handler raises is its answer)
        return {"error": error_of(name, state, error)}


def error_of(blueprint: str, state: str, error: BaseException) -> dict[str, Any]:
    """The failure to record. A handler runs again at once with the same arguments: only time can mend it."""
    if isinstance(error, BlueprintError):
        return {"kind": "contract_violation", "code": "blueprint", "message": str(error)}
    where = f"blueprint {blueprint!r}, state {state!r}"
    if isinstance(error, SkillError):
        return {"kind": error.kind, "code": error.code, "message": f"{where}: {error.message}"}
    trace = "".join(traceback.format_exception(error))[-4000:]
    return {
        "kind": "transient",
        "code": type(error).__name__,
        "message": f"{where}: {error}" if str(error) else where,
        "details": {"traceback": trace},
    }


def _write(answers: BinaryIO, said: dict[str, Any]) -> None:
    try:
        line = orjson.dumps(said)
    except TypeError as error:
        message = f"the action is not JSON: {error}"
        line = orjson.dumps({"error": {"kind": "contract_violation", "code": "not_json", "message": message}})
    answers.write(line + b"\n")
    answers.flush()


def _read(lines: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)  # also in the middle of a handler: whoever asked is gone


if __name__ == "__main__":
    main()
