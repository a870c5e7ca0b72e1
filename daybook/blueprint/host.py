"""The process that runs handlers: `python -m daybook.blueprint.host [FOLDER]`.

One JSON object a line on standard input, one on standard output for each:

    {"call":"catalog"}
        {"blueprints":{NAME:{"graph":…,"meta":…,"file":…,"sha256":…,"source":…}},"problems":[…]}
    {"call":"files","config":{…}}
        {"files":true}
    {"call":"load","file":…,"source":…}
        {"loaded":[NAME,…],"problems":[…]}
    {"call":"run","blueprint":…,"state":…,"view":{…}[,"sha256":…]}
        {"action":{…}} or {"error":{"kind":…,"code":…,"message":…,"details":…}} or {"unknown":SHA-256}

`files` says where jobs have their files (shared.files.config); it holds secrets, so it comes this way and
by no variable. `load` adds an older text of a file to what can be run, named by its SHA-256; without one,
`run` means the text in the folder. `unknown` asks for the text. The process ends when its input ends. A
handler that never ends is ended from outside, with the process.
"""

import asyncio
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import msgspec
import orjson

from daybook.blueprint.actions import Actions
from daybook.blueprint.blueprint import OpenFiles
from daybook.blueprint.loading import Catalog, Loaded, load_blueprints, load_source
from daybook.errors import BlueprintError, SkillError


class Host:
    """What the process can run: the blueprints of the folder, and older texts of theirs."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._newest = Catalog() if folder is None else load_blueprints(folder)
        self._versions = {(name, loaded.sha256): loaded for name, loaded in self._newest.blueprints.items()}
        self._runner = asyncio.Runner()
        self._files: OpenFiles | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to one call."""
        match asked["call"]:
            case "catalog":
                return self._catalog()
            case "files":
                self._files = _opening(asked["config"])
                return {"files": True}
            case "load":
                return self._load(Path(asked["file"]), asked["source"])
        name, digest = asked["blueprint"], asked.get("sha256")
        loaded = self._newest.blueprints.get(name)
        if digest is not None:
            loaded = self._versions.get((name, digest))
            if loaded is None:
                return {"unknown": digest}
        return self._run(loaded, name, asked["state"], asked["view"])

    def _catalog(self) -> dict[str, Any]:
        return {
            "blueprints": {
                name: {
                    "graph": loaded.graph,
                    "meta": loaded.meta,
                    "file": loaded.file,
                    "sha256": loaded.sha256,
                    "source": loaded.source,
                }
                for name, loaded in self._newest.blueprints.items()
            },
            "problems": [str(problem) for problem in self._newest.problems],
        }

    def _load(self, file: Path, source: str) -> dict[str, Any]:
        catalog = Catalog()
        digest = sha256(source.encode()).hexdigest()
        path = file if self._folder is None else self._folder / file.name
        load_source(source, path, f"{path} ({digest[:12]})", catalog)
        for name, loaded in catalog.blueprints.items():
            self._versions[name, digest] = loaded
        return {
            "loaded": list(catalog.blueprints),
            "problems": [str(problem) for problem in catalog.problems],
        }

    def _run(self, loaded: Loaded | None, name: str, state: str, view: dict[str, Any]) -> dict[str, Any]:
        try:
            if loaded is None:
                raise BlueprintError(name, "there is no such blueprint (any more)")
            return {"action": loaded.blueprint.run_handler(state, view, self._runner, self._files)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a handler raises is its answer)
            return {"error": error_of(name, state, error)}


def _opening(config: dict[str, Any]) -> OpenFiles:
    """What makes the `task_files` of a job. Loads the libraries only here: most have no files."""
    from daybook.blueprint.files import TaskFiles
    from shared.application.clock import now_seconds
    from shared.files.config import FilesConfig
    from shared.files.opening import open_files

    opened = msgspec.convert(config, FilesConfig)
    files, work = open_files(opened, now_seconds), Path(opened.work)

    def task_files(view: Mapping[str, Any], actions: Actions) -> TaskFiles:
        return TaskFiles(files, UUID(view["job_id"]), work, actions.moved_file)

    return task_files


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    # What handlers print must not get between the answers: they get standard error as their output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    host = Host(folder)
    while line := lines.get():
        _write(answers, host.answer(orjson.loads(line)))


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
