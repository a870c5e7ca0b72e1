"""One task after the other, many at once: claim, run, report, ack."""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from daybook.worker import wire
from daybook.worker.calling import Calling, Failed
from daybook.worker.context import Result
from daybook.worker.intake import Queue
from daybook.worker.link import Answer, Link
from daybook.worker.outcome import error_of, failure
from daybook.worker.run import Run, Stop
from daybook.worker.skills import Skill
from shared.application.clock import now_us

log = logging.getLogger("daybook.worker")

FRESH_US = 250_000
"""A task stored longer ago than this is claimed before it runs."""
CLAIM_AFTER_SECONDS = 1.0
UNANSWERED_FACTOR = 4
"""Results that wait for their verdict, in multiples of the concurrency, before no more tasks are taken."""
RESULT_WAITS_SECONDS = (0.5, 1.0, 2.0)
"""After answers to a result that decide nothing."""
LONGEST_DELAY_SECONDS = 30.0
"""How long a task that could not be decided stays away at most before it is delivered again."""


class Runner:
    """Runs tasks for one worker. `on_room` is called whenever a slot becomes free."""

    def __init__(self, link: Link, name: str, skills: Mapping[str, Skill], concurrency: int) -> None:
        self._link, self._name, self._skills, self._concurrency = link, name, skills, concurrency
        self._loop = asyncio.get_running_loop()
        self._runs: dict[tuple[str, int, int], Run] = {}
        self._occupied = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._unanswered = 0
        self._calling = Calling(name, self._free)
        self.on_room: Callable[[], None] = lambda: None

    @property
    def running(self) -> int:
        """Slots in use."""
        return self._occupied

    @property
    def room(self) -> int:
        """How many more tasks may be started now."""
        return min(
            self._concurrency - self._occupied, UNANSWERED_FACTOR * self._concurrency - self._unanswered
        )

    def start(self, task: wire.Task, queue: Queue) -> None:
        """Take a delivered task. The same attempt delivered again while it is here is one run."""
        known = self._runs.get(task.key)
        if known is not None:
            known.task.ack_subject = task.ack_subject
            return
        skill = self._skills.get(task.skill)
        if skill is None:
            log.error("a task of the unknown skill %r is given back", task.skill)
            self._link.send(task.ack_subject, wire.nak(1.0))
            return
        run = Run(task, queue, skill, time.monotonic())
        self._runs[task.key] = run
        self._occupied += 1
        self._empty.clear()
        run.work = self._loop.create_task(self._way(run))

    def cancel(self, job_id: str, number: int, attempt: int) -> None:
        """The dispatcher's word that the result of a task is not wanted any more."""
        run = self._runs.get((job_id, number, attempt))
        if run is not None:
            self._stop(run, "cancelled")

    def tick(self) -> None:
        """Regular care of what runs: in-progress signs, claims of long tasks, renewals, progress."""
        if not self._link.is_up:
            return
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.wpi_at <= now:
                run.wpi_at = now + run.queue.ack_wait_seconds / 3
                self._link.send(run.task.ack_subject, wire.IN_PROGRESS)
            if run.executing and run.call is None:
                self._look_after(run, now)

    async def drain(self, seconds: float) -> None:
        """Let what runs come to its end; after `seconds` stop it and give it back."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            log.warning("%d tasks do not end within %g s; giving them back", len(self._runs), seconds)
            for run in list(self._runs.values()):
                self._stop(run, "drain")
            try:
                async with asyncio.timeout(5.0):
                    await self._empty.wait()
            except TimeoutError:
                await self._abandon()

    def close(self) -> None:
        """End the threads that are idle and all processes. Threads that still work are left behind."""
        self._calling.close()

    async def _abandon(self) -> None:
        left = [run.work for run in self._runs.values() if run.work is not None]
        for run in list(self._runs.values()):
            self._link.send(run.task.ack_subject, wire.NAK)
        for work in left:
            work.cancel()
        await asyncio.wait(left, timeout=1.0)

    async def _way(self, run: Run) -> None:
        try:
            word = await self._end_of(run)
            self._link.send(run.task.ack_subject, word)
        finally:
            if not run.lingers:
                self._free(run)
            if run.call is not None:
                run.call.cancel()
            del self._runs[run.task.key]
            if not self._runs:
                self._empty.set()

    async def _end_of(self, run: Run) -> bytes:
        """Everything about one task up to its end; the answer is the word of acknowledgement."""
        if run.task.must_claim(now_us(), FRESH_US):
            refusal = await self._refusal(run)
            if refusal is not None:
                return refusal
        report = None
        if run.stop is None:
            report = await self._executed(run)
        if run.stop in {"cancelled", "refused"}:
            log.info("task %d of job %s was stopped: %s", run.task.number, run.task.job_id, run.stop)
            return wire.ACK
        if report is None:
            if not run.claimed:
                return wire.NAK
            # Another worker would find the lease taken until it is over: give the attempt up in words.
            report = self._failed(run, failure("transient", "worker_stopped", "the worker was stopped"))
        if not run.lingers:
            self._free(run)
        return await self._reported(run, report)

    async def _refusal(self, run: Run) -> bytes | None:
        """Claim before the start: None when it is granted, else the word for a task that is not run.

        Only a verdict acks. Where the dispatcher could not decide, nobody else would run the task after an
        ack: it is given back, to be claimed again.
        """
        run.call = self._report(run, wire.claim(run.task, self._name))
        try:
            answer = await run.call
        except asyncio.CancelledError:
            if run.stop is None or _is_cancelling():
                raise
            return wire.NAK if run.stop == "drain" else wire.ACK
        finally:
            run.call = None
        said = answer.get("reason") or answer
        if not wire.decides(answer):
            delay = min(LONGEST_DELAY_SECONDS, 2.0 ** min(run.task.deliveries - 1, 5))
            which = f"task {run.task.number} of job {run.task.job_id}"
            log.warning("the claim of %s could not be decided, it goes back for %g s: %s", which, delay, said)
            return wire.nak(delay)
        if answer["verdict"] == "granted":
            self._hold_lease(run, answer)
            return None
        log.info("task %d of job %s is not run: %s", run.task.number, run.task.job_id, said)
        return wire.ACK

    async def _executed(self, run: Run) -> bytes | None:
        """Run the skill: its report, or None when it was stopped before it had one."""
        run.started_at = now_us()
        limits = [limit for limit in (run.skill.timeout, run.task.run_timeout) if limit is not None]
        timer = self._loop.call_later(min(limits), self._stop, run, "timeout") if limits else None
        run.executing = True
        error: dict[str, Any] | None = None
        output: Any = None
        try:
            output = await self._calling.call(run)
        except asyncio.CancelledError:
            if run.stop is None:
                if _is_cancelling():
                    raise
                error = failure("transient", "cancelled", "the skill was cancelled from within")
            elif (current := asyncio.current_task()) is not None:
                current.uncancel()
        except (Exception, SystemExit) as raised:  # noqa: BLE001 (any exception of a skill is its result)
            error = error_of(raised)
            log.warning("task %d of job %s failed: %r", run.task.number, run.task.job_id, raised)
        else:
            if run.stop is None or run.stop == "drain":
                return self._succeeded(run, output)
        finally:
            run.executing = False
            if timer is not None:
                timer.cancel()
        if run.stop == "timeout":
            error = failure("timeout", "run_timeout", f"it ran longer than {min(limits):g} s")
        return None if error is None else self._failed(run, error)

    async def _reported(self, run: Run, report: bytes) -> bytes:
        """Report the result until there is a verdict; only then the delivery is acked."""
        if len(report) > self._link.max_payload:
            text = f"the result has {len(report)} bytes, the broker takes {self._link.max_payload}"
            report = self._failed(run, failure("contract_violation", "output_too_large", text))
        if run.call is not None:
            run.call.cancel()
        self._unanswered += 1
        try:
            answer = await self._decided(run, report)
            if "error" in answer:
                log.error("the report of job %s was not understood: %s", run.task.job_id, answer)
                error = failure("contract_violation", "report_refused", str(answer["error"]))
                answer = await self._decided(run, self._failed(run, error))
        finally:
            self._unanswered -= 1
            run.call = None
        if not wire.decides(answer):
            return wire.nak(LONGEST_DELAY_SECONDS)
        if answer["verdict"] != "accepted":
            log.info("the result of job %s was ignored: %s", run.task.job_id, answer.get("reason"))
        return wire.ACK

    async def _decided(self, run: Run, report: bytes) -> Answer:
        """The answer to a report: asked again, a little later each time, while it decides nothing."""
        for wait in RESULT_WAITS_SECONDS:
            run.call = self._report(run, report)
            answer = await run.call
            if wire.decides(answer):
                return answer
            log.warning("the result of job %s could not be decided: %s", run.task.job_id, answer)
            await asyncio.sleep(wait)
        return answer

    def _succeeded(self, run: Run, output: Any) -> bytes:
        port = "success"
        if isinstance(output, Failed):
            return self._failed(run, output.error)
        if isinstance(output, Result):
            output, port = output.output, output.port
        try:
            return wire.succeeded(run.task, self._name, output, port, run.started_at)
        except TypeError as error:
            return self._failed(run, failure("contract_violation", "output_not_json", str(error)))

    def _failed(self, run: Run, error: dict[str, Any]) -> bytes:
        return wire.failed(run.task, self._name, error, run.started_at or now_us())

    def _look_after(self, run: Run, now: float) -> None:
        if not run.claimed:
            if now - run.since >= CLAIM_AFTER_SECONDS and now >= run.renew_at:
                self._ask(run, "claim", wire.claim(run.task, self._name))
        elif now >= run.renew_at:
            self._ask(run, "renew", wire.renew(run.task, self._name))
        elif run.progress is not None:
            (fraction, message), run.progress = run.progress, None
            self._ask(run, "progress", wire.progress(run.task, self._name, fraction, message))

    def _ask(self, run: Run, kind: str, report: bytes) -> None:
        run.call = self._report(run, report)
        run.call.add_done_callback(functools.partial(self._answered, run, kind))

    def _answered(self, run: Run, kind: str, future: "asyncio.Future[Answer]") -> None:
        if future.cancelled():
            return
        if run.call is future:
            run.call = None
        answer = future.result()
        verdict = answer.get("verdict")
        if not wire.decides(answer):
            log.error("a %s of job %s was not understood: %s", kind, run.task.job_id, answer)
            run.renew_at = time.monotonic() + 5.0
        elif verdict == "granted":
            self._hold_lease(run, answer)
        elif verdict == "accepted":
            if kind == "renew":
                run.renew_at = time.monotonic() + run.lease_seconds / 2
        elif run.executing:
            log.info("task %d of job %s is not ours any more: %s", run.task.number, run.task.job_id, answer)
            self._stop(run, "refused")

    def _hold_lease(self, run: Run, answer: Answer) -> None:
        run.claimed = True
        run.lease_seconds = float(answer.get("lease_seconds") or 60.0)
        run.renew_at = time.monotonic() + run.lease_seconds / 2

    def _stop(self, run: Run, why: Stop) -> None:
        """Stop a run that waits for its claim or executes; one that reports goes on to its verdict."""
        if run.stop is not None:
            return
        if run.executing:
            run.stop = why
            if run.cancelled is not None:
                run.cancelled.set()
            if run.child is not None:
                run.child.kill()
            if run.work is not None:
                run.work.cancel()
        elif run.started_at == 0:
            run.stop = why
            if run.call is not None:
                run.call.cancel()

    def _free(self, run: Run) -> None:
        if run.occupies:
            run.occupies = run.lingers = False
            self._occupied -= 1
            self.on_room()

    def _report(self, run: Run, report: bytes) -> "asyncio.Future[Answer]":
        return self._link.call(f"report.{run.task.job_token}", report)


def _is_cancelling() -> bool:
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0
