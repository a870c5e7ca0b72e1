"""The process that runs handlers: `python -m daybook.blueprint.host [FOLDER]`.

One JSON object a line on standard input, and on standard output an answer to each, under its `id`:

    {"id":…,"call":"catalog"}
        {"blueprints":{NAME:{"graph":…,"meta":…,"file":…,"sha256":…,"source":…}},"problems":[…]}
    {"id":…,"call":"files","config":{…}}
        {"files":true}
    {"id":…,"call":"load","file":…,"source":…}
        {"loaded":[NAME,…],"problems":[…]}
    {"id":…,"call":"run","blueprint":…,"state":…,"view":{…},"seconds":…[,"sha256":…]}
        {"begun":"coroutine"} or {"begun":"function"}, when the handler really begins, and then
        {"action":{…}} or {"error":{"kind":…,"code":…,"message":…,"details":…}} or {"late":true}
        or at once {"unknown":SHA-256}

`files` says where jobs have their files (shared.files.config); it holds secrets, so it comes this way and
by no variable. `load` adds an older text of a file to what can be run, named by its SHA-256; without one,
`run` means the text in the folder. `unknown` asks for the text. Runs are answered as they end: coroutines
share one event loop and wait side by side, plain functions take turns in a thread of their own. A coroutine
is cancelled after `seconds` (`late`); what cannot be cancelled is ended from outside, with the process. The
process ends when its input ends.
"""

import asyncio
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from hashlib import sha256
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, Final
from uuid import UUID

import msgspec
import orjson

from daybook.blueprint.actions import Actions, ChoiceError
from daybook.blueprint.blueprint import Blueprint
from daybook.blueprint.loading import Catalog, load_blueprints, load_source
from daybook.blueprint.runs import HandlerRun, OpenFiles, begin
from daybook.errors import BlueprintError, SkillError


class Host:
    """What the process can run: the blueprints of the folder, and older texts of theirs."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._newest = Catalog() if folder is None else load_blueprints(folder)
        self._versions = {(name, loaded.sha256): loaded for name, loaded in self._newest.blueprints.items()}
        self._functions = ThreadPoolExecutor(1, thread_name_prefix="handlers")
        self._files: OpenFiles | None = None

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call that is not `run`."""
        match asked["call"]:
            case "catalog":
                return self._catalog()
            case "files":
                self._files = _opening(asked["config"])
                return {"files": True}
        return self._load(asked)

    async def run(self, asked: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """The answer to `run`; `say` is told when the handler begins."""
        name, state, digest = asked["blueprint"], asked["state"], asked.get("sha256")
        loaded = self._newest.blueprints.get(name)
        if digest is not None:
            loaded = self._versions.get((name, digest))
            if loaded is None:
                return {"unknown": digest}
        try:
            async with asyncio.timeout(None) as limit:
                try:
                    if loaded is None:
                        raise BlueprintError(name, "there is no such blueprint (any more)")
                    return {"action": await self._action(loaded.blueprint, asked, limit, say)}
                except ChoiceError as error:
                    raise BlueprintError(name, str(error), state) from error
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # noqa: BLE001 (it is its answer)
            return {"late": True} if limit.expired() else {"error": error_of(name, state, error)}

    async def _action(
        self,
        blueprint: Blueprint,
        asked: dict[str, Any],
        limit: asyncio.Timeout,
        say: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        run = begin(blueprint, asked["state"], asked["view"], self._files)
        if inspect.iscoroutinefunction(run.handler):
            returned = run.handler(**run.arguments)
        else:
            # In a thread, because a function cannot let others go on while it waits.
            problem, returned = await loop.run_in_executor(self._functions, _called, run, say)
            if problem is not None:
                raise problem
        if inspect.isawaitable(returned):
            say({"begun": "coroutine"})
            limit.reschedule(loop.time() + asked["seconds"])
            returned = await returned
        return run.action(returned)

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

    def _load(self, asked: dict[str, Any]) -> dict[str, Any]:
        file, source = Path(asked["file"]), asked["source"]
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


def _called(run: HandlerRun, say: Callable[[dict[str, Any]], None]) -> tuple[BaseException | None, Any]:
    """What a plain function raised or returned; some exceptions would not come through a future."""
    say({"begun": "function"})
    try:
        return None, run.handler(**run.arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a handler raises is its answer)
        return error, None


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
    asyncio.run(_serve(Host(folder), answers))


async def _serve(host: Host, answers: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    threading.Thread(target=_read, args=(loop, lines), daemon=True).start()
    writing = threading.Lock()
    runs: set[asyncio.Task[None]] = set()

    async def run(asked: dict[str, Any]) -> None:
        def say(said: dict[str, Any]) -> None:
            _write(answers, writing, {**said, "id": asked["id"]})

        _write(answers, writing, {**await host.run(asked, say), "id": asked["id"]}, asked)

    while True:
        asked = orjson.loads(await lines.get())
        if asked["call"] == "run":
            task = loop.create_task(run(asked))
            runs.add(task)
            task.add_done_callback(runs.discard)
        else:
            _write(answers, writing, {**host.answer(asked), "id": asked["id"]})


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
        "message": f"{where}: {type(error).__name__}" + (f": {error}" if str(error) else ""),
        "details": {"traceback": trace},
    }


def _write(
    answers: BinaryIO, writing: threading.Lock, said: dict[str, Any], asked: Mapping[str, Any] | None = None
) -> None:
    try:
        line = orjson.dumps(said)
        odd = not_finite(said.get("action"))
        if odd is not None:
            raise TypeError(f"{odd[0][1:]} is {odd[1]!r}")
    except TypeError as problem:
        where = f"blueprint {asked['blueprint']!r}, state {asked['state']!r}: " if asked else ""
        message = f"{where}the action is not JSON: {problem}"
        error = {"kind": "contract_violation", "code": "not_json", "message": message}
        line = orjson.dumps({"error": error, "id": said["id"]})
    with writing:
        answers.write(line + b"\n")
        answers.flush()


def not_finite(value: Any) -> tuple[str, float] | None:
    """The first number in `value` that JSON does not have, and where it stands: orjson would write null."""
    if isinstance(value, float):
        return None if isfinite(value) else ("", value)
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name, None) for field in fields(value)}
    if isinstance(value, dict):
        for key, part in value.items():
            if type(part) not in _PLAIN and (found := not_finite(part)) is not None:
                return f".{key}{found[0]}", found[1]
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            if type(part) not in _PLAIN and (found := not_finite(part)) is not None:
                return f"[{index}]{found[0]}", found[1]
    return None


_PLAIN: Final = frozenset({str, int, bool, NoneType})


def _read(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[bytes]") -> None:
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    os._exit(0)  # also in the middle of a handler: whoever asked is gone


if __name__ == "__main__":
    main()
