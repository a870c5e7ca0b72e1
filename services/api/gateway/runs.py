"""What the workers behind the gateway hold: deliveries kept in progress, leases renewed, cancellations."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from services.api.gateway.reports import Reports, answer_of
from services.api.gateway.tasks import Key, Run, Task
from shared.broker.errors import BrokerError
from shared.broker.messages import Message

log = logging.getLogger(__name__)

ACK: Final = b"+ACK"
IN_PROGRESS: Final = b"+WPI"
NAK: Final = b"-NAK"
ACK_SECONDS: Final = 0.02
"""How long deliveries that are done with are gathered: each by itself would wake the broker once more."""
UNDECIDED_SECONDS: Final = 5.0
"""How long after an answer that is no verdict a renewal is asked for again."""
CANCELLED_KEPT_SECONDS: Final = 600.0
"""How long a cancelled task is remembered, so that a worker that still lists it hears of it."""
STRANGE_KEPT_SECONDS: Final = 15.0
"""How long a task of an unknown job is not asked about again: well below a lease, because a dispatcher that
has only begun may not know a job of ours yet."""


class Runs:
    """Every task in somebody's hands, by its key."""

    def __init__(
        self,
        reports: Reports,
        send: Callable[[str, bytes], None],
        stop: Callable[[Run], None],
        lease_seconds: float,
        ack_wait_seconds: float,
    ) -> None:
        """`send` answers a delivery, `stop` tells a worker that a task is not wanted any more."""
        self._reports, self._send, self._stop = reports, send, stop
        self._lease = lease_seconds
        self.ack_wait_seconds = ack_wait_seconds
        """The shortest time in which any queue waits for a sign of progress."""
        self._runs: dict[Key, Run] = {}
        self._strange: dict[Key, float] = {}
        """Tasks that workers hold for somebody else, and until when that is believed."""
        self._done: list[str] = []
        self._loop = asyncio.get_running_loop()
        self.on_end: Callable[[Run], None] = lambda run: None
        self.on_free: Callable[[Task], None] = lambda task: None
        """Hears of a delivery that was kept while a worker had its task, and no worker has it now."""

    @property
    def _wpi(self) -> float:
        return self.ack_wait_seconds / 3

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, key: Key) -> Run | None:
        return self._runs.get(key)

    def begin(self, task: Task, worker: str, lease: float, keep: float) -> Run:
        """The worker was granted the task. It keeps it `keep` seconds without ever showing itself."""
        now = self._loop.time()
        run = Run(task.key, worker, task.skill, now, lease)
        run.ack, run.release, run.in_group, run.ports = task.ack, task.release, task.in_group, task.ports
        run.wpi_at, run.deadline = now + self._wpi, now + keep
        before = self._runs.get(task.key)
        self._runs[task.key] = run
        if before is not None:
            self._ended(before)
        return run

    def adopt(self, key: Key, worker: str) -> Run:
        """The worker says that it holds a task that was handed out before this process began."""
        now = self._loop.time()
        run = Run(key, worker, "", now, self._lease)
        run.renew_at, run.renewed = now, -1.0  # ask at once whether it is true
        self._runs[key] = run
        self._look_after(run, now)
        return run

    def is_strange(self, key: Key) -> bool:
        """Whether the task is of no job that is known here: its worker may have it from another system."""
        return key in self._strange

    def keeps(self, task: Task) -> bool:
        """Whether a worker has the task already; then its delivery is kept here, and not offered.

        The same release delivered again takes the place of its delivery before. Another release of the same
        attempt shows that the dispatcher has taken the task from somebody: it must not be acked for the
        worker that has the one before, so it waits until a renewal tells whose the task is.
        """
        run = self._runs.get(task.key)
        if run is None:
            return False
        if task.release == run.release:
            if run.cancelled:
                self._send(task.ack, ACK)
            else:
                self._bind(run, task)
        elif run.cancelled:
            self._drop(run)  # what is remembered is of the release before
            return False
        elif task.release < run.release:
            self._send(task.ack, ACK)  # it was released anew since
        else:
            run.contender, run.contended_at = task, self._loop.time()
            run.renew_at = run.wpi_at = run.contended_at
            self._look_after(run, run.contended_at)
        return True

    def heard(self, run: Run) -> None:
        """The worker shows that it is at it."""
        run.heard = now = self._loop.time()
        if now >= run.renew_at:
            self._look_after(run, now)

    def progressed(self, run: Run, progress: float, message: str | None) -> None:
        """How far it is; of several in a row the last is told."""
        self.heard(run)
        run.progress = (progress, message)
        self._look_after(run, self._loop.time())

    def settled(self, run: Run) -> None:
        """There is a verdict on its result: the delivery is done with."""
        if self._runs.get(run.key) is run:
            if run.ack:
                if not self._done:
                    self._loop.call_later(ACK_SECONDS, self.acknowledge)
                self._done.append(run.ack)
            self._drop(run)

    def acknowledge(self) -> None:
        """Answer the deliveries of what is settled."""
        done, self._done = self._done, []
        for ack in done:
            self._send(ack, ACK)

    def put_down(self, run: Run) -> None:
        """The worker does not have it after all; its delivery is somebody else's to answer."""
        if self._runs.get(run.key) is run:
            self._drop(run)

    def cancel(self, key: Key) -> None:
        """Nobody wants the result of the task any more."""
        run = self._runs.get(key)
        if run is not None and not run.cancelled:
            run.cancelled, run.deadline = True, self._loop.time() + CANCELLED_KEPT_SECONDS
            if run.ack:
                self._send(run.ack, ACK)
            self._stop(run)
            self._free(run)

    def tick(self, now: float) -> None:
        """Regular care of all."""
        self._strange = {key: until for key, until in self._strange.items() if until > now}
        for run in list(self._runs.values()):
            if run.cancelled:
                if now >= run.deadline:
                    self._drop(run)
            elif now >= max(run.until, run.deadline) and not run.reporting:
                log.warning(
                    "task %d of job %s was lost with worker %s", run.key.task, run.key.job, run.worker
                )
                self._drop(run)
            else:
                self._look_after(run, now)

    def _look_after(self, run: Run, now: float) -> None:
        if now >= run.wpi_at:
            run.wpi_at = now + self._wpi
            for ack in (run.ack, run.contender.ack if run.contender is not None else ""):
                if ack:
                    self._send(ack, IN_PROGRESS)
        if run.asking or run.cancelled or run.reporting:
            return
        # Only what showed itself since the last renewal is renewed; what never does, up to its deadline.
        if now >= run.renew_at and (run.heard > run.renewed or now < run.deadline):
            self._ask(run, "renew")
        elif run.progress is not None:
            (fraction, message), run.progress = run.progress, None
            self._ask(run, "progress", progress=fraction, message=message)

    def _ask(self, run: Run, kind: str, **more: object) -> None:
        run.asking = True
        asked = self._loop.time()
        future = self._reports.ask(run.key, run.worker, kind, **more)
        future.add_done_callback(partial(self._answered, run, kind, asked))

    def _answered(self, run: Run, kind: str, asked: float, future: "asyncio.Future[Message]") -> None:
        run.asking = False
        if future.cancelled() or self._runs.get(run.key) is not run:
            return
        try:
            answer = answer_of(future.result())
        except (BrokerError, msgspec.DecodeError) as problem:
            log.info("a %s of job %s is asked again: %s", kind, run.key.job, problem)
            run.renew_at = max(run.renew_at, self._loop.time() + 1.0)
            return
        is_unknown = answer.reason == "unknown_job"
        was_delivered = bool(run.ack) or run.contender is not None  # from the journal: so its job is there
        if answer.error is not None or not answer.verdict or (is_unknown and was_delivered):
            said = answer.error or answer.reason
            log.error("a %s of job %s could not be decided: %s", kind, run.key.job, said)
            run.renew_at = max(run.renew_at, self._loop.time() + UNDECIDED_SECONDS)
        elif answer.verdict in ("accepted", "granted"):
            if kind == "renew":
                run.renewed, run.until = asked, asked + self._lease
                run.renew_at = asked + self._lease / 2
                if run.contender is not None:
                    if asked >= run.contended_at:
                        self._bind(run, run.contender)
                    else:
                        run.renew_at = asked  # that may have been granted before it was released anew
            if run.progress is not None:
                self._look_after(run, self._loop.time())
        elif is_unknown:
            # Nothing to stop: who works for two systems names the tasks of both to each.
            log.info("task %d of job %s, which %s lists, is not ours", run.key.task, run.key.job, run.worker)
            self._strange[run.key] = self._loop.time() + STRANGE_KEPT_SECONDS
            self._drop(run)
        elif not run.reporting:
            log.info(
                "task %d of job %s is not %s's any more: %s", run.key.task, run.key.job, run.worker, answer
            )
            self.cancel(run.key)

    def _bind(self, run: Run, task: Task) -> None:
        """The delivery is that of what the worker has."""
        if run.ack and run.release != task.release:
            self._send(run.ack, ACK)
        run.ack, run.release, run.skill, run.contender = task.ack, task.release, task.skill, None
        run.wpi_at = self._loop.time() + self._wpi
        self._send(task.ack, IN_PROGRESS)

    def _drop(self, run: Run) -> None:
        del self._runs[run.key]
        self._ended(run)

    def _ended(self, run: Run) -> None:
        self.on_end(run)
        self._free(run)

    def _free(self, run: Run) -> None:
        contender, run.contender = run.contender, None
        if contender is not None:
            self.on_free(contender)


def nak(seconds: float) -> bytes:
    """Give a delivery back, to come again after so long."""
    return b'-NAK {"delay": %d}' % int(seconds * 1e9)
