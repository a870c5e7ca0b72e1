"""Plain functions in threads.

The standard pool waits at the interpreter's exit for threads that never end, and wakes the event loop once a
result. These threads are daemons, so that a worker can leave a stuck skill behind, and results that come
together wake the loop once.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class ThreadRun:
    """One call. `future` has its result (cancel it to lose interest); `ended`: the thread is free."""

    __slots__ = ("call", "context", "ended", "error", "future", "on_end", "result")

    def __init__(
        self, call: Callable[[], Any], context: contextvars.Context, future: "asyncio.Future[Any]"
    ) -> None:
        self.call, self.context, self.future = call, context, future
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.on_end: Callable[[], None] | None = None


class Threads:
    """As many threads as calls run at the same time; they are kept. Used from one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[ThreadRun | None] = SimpleQueue()
        self._done: deque[ThreadRun] = deque()
        self._threads = 0
        self._busy = 0

    def submit(self, call: Callable[[], Any]) -> ThreadRun:
        """Run `call` in a thread, in a copy of the current context."""
        run = ThreadRun(call, contextvars.copy_context(), self._loop.create_future())
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._serve, daemon=True, name=f"daybook-skill-{self._threads}").start()
        self._waiting.put(run)
        return run

    def close(self) -> None:
        """Let the threads end after what they do now."""
        for _ in range(self._threads):
            self._waiting.put(None)
        self._threads = 0

    def _serve(self) -> None:
        while (run := self._waiting.get()) is not None:
            try:
                run.result = run.context.run(run.call)
            except StopIteration as error:
                # A future cannot carry it: it would end the coroutine that waits instead of reaching it.
                run.error = RuntimeError("the skill raised StopIteration")
                run.error.__cause__ = error
            except BaseException as error:  # noqa: BLE001 (carried to the one who waits)
                run.error = error
            self._done.append(run)
            # Only the one who finds it empty wakes the loop; the loop takes everything that is there by then.
            if len(self._done) == 1 and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        done = self._done
        while done:
            run = done[0]
            self._busy -= 1
            run.ended = True
            if not run.future.done():
                if run.error is not None:
                    run.future.set_exception(run.error)
                else:
                    run.future.set_result(run.result)
            if run.on_end is not None:
                run.on_end()
            done.popleft()
