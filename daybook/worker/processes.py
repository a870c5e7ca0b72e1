"""Skills in processes of their own: one task at a time each, killed when the task must stop."""

import asyncio
import contextlib
import inspect
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import pickle
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from daybook.worker.context import Result, TaskContext
from daybook.worker.outcome import error_of

_spawn = multiprocessing.get_context("spawn")


class ProcessDied(Exception):
    """The process ended without an answer: a crash, the kernel's memory killer, or our own kill."""


@dataclass(frozen=True, slots=True)
class Order:
    """One run of a function, as it is sent to a process. Everything in it can be pickled."""

    function: Callable[..., Any]
    input: Any
    wants_context: bool
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """`output` is JSON text and `error` None, or the other way round."""

    output: bytes | None = None
    port: str = "success"
    error: dict[str, Any] | None = None


class Child:
    """A process that runs orders. All methods but `kill` block: call them in a thread."""

    def __init__(self) -> None:
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=serve, args=(theirs,), daemon=True, name="daybook-skill")
        self._process.start()
        theirs.close()

    def run(self, order: Order, progress: Callable[[float, str | None], None]) -> Answer:
        """Raises ProcessDied, or what pickle raises for a function that cannot be found by its name."""
        try:
            self._pipe.send(order)
            while True:
                said = self._pipe.recv()
                if isinstance(said, Answer):
                    return said
                progress(*said)
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise ProcessDied(f"the skill's process ended with status {self._process.exitcode}") from error

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Let it end by itself; by force after a second."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


class ProcessPool:
    """Processes, started when they are needed and kept for the next task."""

    def __init__(self) -> None:
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self, order: Order, progress: Callable[[float, str | None], None], taken: Callable[[Child], None]
    ) -> Answer:
        """Run one order in a free process (blocking). `taken` is told which, so that it can be killed."""
        with self._lock:
            child = self._idle.pop() if self._idle else None
        if child is None:
            child = Child()
        with self._lock:
            self._busy.add(child)
        taken(child)
        healthy = False
        try:
            answer = child.run(order, progress)
            healthy = True
            return answer
        finally:
            with self._lock:
                self._busy.discard(child)
                keep = healthy and not self._closed
                if keep:
                    self._idle.append(child)
            if not keep:
                child.kill()
                child.close()

    def close(self) -> None:
        """End all processes (blocking): idle ones kindly, busy ones by force."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for child in busy:
            child.kill()
        for child in idle:
            child.close()


def serve(pipe: "multiprocessing.connection.Connection[Any, Any]") -> None:
    """The process's own loop: run one order after the other until the pipe is closed."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole group; the worker decides what it means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            return
        except (ImportError, AttributeError, pickle.UnpicklingError) as error:
            pipe.send(Answer(error=error_of(error)))
            continue
        pipe.send(_answer(order, pipe))


def _answer(order: Order, pipe: "multiprocessing.connection.Connection[Any, Any]") -> Answer:
    arguments: list[Any] = [order.input]
    if order.wants_context:
        facts = {**order.facts, "job_id": UUID(order.facts["job_id"])}
        arguments.append(TaskContext(**facts, report_progress=lambda f, message: pipe.send((f, message))))
    try:
        found = order.function(*arguments)
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (any exception of a skill is its answer)
        return Answer(error=error_of(error))
    port = "success"
    if isinstance(found, Result):
        found, port = found.output, found.port
    try:
        return Answer(output=orjson.dumps(found), port=port)
    except TypeError as error:
        return Answer(error={"kind": "contract_violation", "code": "output_not_json", "message": str(error)})


async def _awaited(found: Any) -> Any:
    return await found


def _die_with_parent() -> None:
    parent = multiprocessing.process.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
