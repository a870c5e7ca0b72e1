"""Calling a skill: on the event loop, in a thread, or in a process."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson

from daybook.errors import TransientError
from daybook.worker import tracing
from daybook.worker.context import Result, TaskContext
from daybook.worker.processes import Child, Order, ProcessDied, ProcessPool
from daybook.worker.run import Run
from daybook.worker.threads import Threads


class Calling:
    """Calls skills for the worker `name`. `on_end` is told when a thread that was given up has ended."""

    def __init__(self, name: str, on_end: Callable[[Run], None]) -> None:
        self._name, self._on_end = name, on_end
        self._threads: Threads | None = None
        self._processes: ProcessPool | None = None
        self._traced = tracing.is_configured()

    def close(self) -> None:
        """End the threads that are idle and all processes. Threads that still work are left behind."""
        if self._processes is not None:
            self._processes.close()
        if self._threads is not None:
            self._threads.close()

    async def call(self, run: Run) -> Any:
        """The skill's output, a Result, or a Failed; raises what the skill raises."""
        skill, task = run.skill, run.task
        if self._traced:
            tracing.attach(task.trace)
        if skill.executor == "process":
            return await self._threaded(run, self._process_call(run))
        arguments = (task.input, self._context(run)) if skill.wants_context else (task.input,)
        if skill.executor == "thread":
            return await self._threaded(run, functools.partial(skill.function, *arguments))
        found = skill.function(*arguments)
        return await found if skill.is_coroutine or inspect.isawaitable(found) else found

    async def _threaded(self, run: Run, call: Callable[[], Any]) -> Any:
        """Wait for a thread. When the task is stopped its slot stays taken until the thread really ends."""
        if self._threads is None:
            self._threads = Threads()
        threaded = self._threads.submit(call)
        try:
            return await threaded.future
        except asyncio.CancelledError:
            if not threaded.ended:
                run.lingers = True
                threaded.on_end = functools.partial(self._on_end, run)
            raise

    def _process_call(self, run: Run) -> Callable[[], Any]:
        if self._processes is None:
            self._processes = ProcessPool()
        facts = self._facts(run) if run.skill.wants_context else {}
        order = Order(run.skill.function, run.task.input, run.skill.wants_context, facts)
        pool = self._processes

        def taken(child: Child) -> None:
            run.child = child
            if run.stop is not None:
                child.kill()

        def call() -> Any:
            try:
                answer = pool.run(order, functools.partial(_keep_progress, run), taken)
            except ProcessDied as died:
                raise TransientError(str(died), code="process_died") from died
            if answer.error is not None:
                return Failed(answer.error)
            assert answer.output is not None
            return Result(orjson.Fragment(answer.output), answer.port)

        return call

    def _context(self, run: Run) -> TaskContext:
        run.cancelled = threading.Event()
        return TaskContext(
            **{**self._facts(run), "job_id": UUID(run.task.job_id)},
            cancelled=run.cancelled,
            report_progress=functools.partial(_keep_progress, run),
        )

    def _facts(self, run: Run) -> dict[str, Any]:
        task = run.task
        return {
            "job_id": task.job_id,
            "task": task.number,
            "attempt": task.attempt,
            "skill": task.skill,
            "worker": self._name,
            "traceparent": task.trace,
            "metadata": task.metadata,
            "release": task.release,
        }


class Failed:
    """What a process says of a failure, already in the words of the wire."""

    __slots__ = ("error",)

    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error


def _keep_progress(run: Run, fraction: float, message: str | None) -> None:
    """Called from any thread; the next tick sends the newest."""
    run.progress = (fraction, message)
