"""Pulling tasks: each skill's queue is asked for as many as there are free slots, and no more.

A pull request waits at the server until its batch is full or it expires. It can get lost (a restarted
server, a new leader), so each has a deadline here too, and silence on a queue makes all of its requests be
asked again.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from daybook.worker import wire
from daybook.worker.link import Link
from shared.broker.messages import Message
from shared.broker.subjects import JOURNAL

log = logging.getLogger("daybook.worker")

EXPIRES_SECONDS = 30.0
EXPIRES_SHARED_SECONDS = 5.0
PULL_UNDER_WAY_SECONDS = 0.05
"""How long a pull is at most on its way to its consumer; 5 ms were enough."""
HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS = 12.0
HOLD_SECONDS = 1.0
NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{JOURNAL}."


class Queue:
    """One skill's queue, and the pull requests that wait at the server."""

    def __init__(self, skill: str, consumer: str, ack_wait_seconds: float) -> None:
        self.skill, self.consumer, self.ack_wait_seconds = skill, consumer, ack_wait_seconds
        self.pulls: dict[int, list[float]] = {}  # number -> [messages still to come, deadline]
        self.asked = 0
        self.heard = time.monotonic()
        self.not_before = 0.0

    def arrived(self) -> None:
        """A message came: the server fills the oldest request first."""
        self.heard = time.monotonic()
        for number, pull in self.pulls.items():
            self.asked -= 1
            pull[0] -= 1
            if pull[0] <= 0:
                del self.pulls[number]
            return

    def ended(self, number: int) -> None:
        pull = self.pulls.pop(number, None)
        if pull is not None:
            self.asked -= int(pull[0])

    def forget(self) -> None:
        self.pulls.clear()
        self.asked = 0
        self.heard = time.monotonic()


class Intake:
    """All queues of one worker. `room()` is the number of free slots, `start(task, queue)` gets each task.

    `lost(skill)` is called when a queue does not exist (any more).
    """

    def __init__(
        self,
        link: Link,
        room: Callable[[], int],
        start: Callable[[wire.Task, Queue], None],
        lost: Callable[[str], None],
    ) -> None:
        self._link, self._room, self._start, self._lost = link, room, start, lost
        self._queues: dict[str, Queue] = {}
        self._held: deque[tuple[float, wire.Task, Queue]] = deque()
        self._number = 0
        self._scheduled = False
        self._stopped = False

    @property
    def held(self) -> int:
        """Tasks that came when no slot was free."""
        return len(self._held)

    async def open(self) -> None:
        """Be ready for deliveries; the link is open."""
        await self._link.open_deliveries(self._on_message)

    def set_queues(self, queues: list[Queue]) -> None:
        """What the dispatcher's answer to hello says; queues that are known go on."""
        known = self._queues
        self._queues = {q.consumer: known.get(q.consumer, q) for q in queues}
        for queue in queues:
            self._queues[queue.consumer].ack_wait_seconds = queue.ack_wait_seconds
        self.ask()

    def ask(self) -> None:
        """Look for free slots soon: once for everything that happens in one turn of the event loop."""
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._ask_now)

    def reconnected(self) -> None:
        """The server knows nothing of what was asked on the old connection."""
        self._link.forget_unsent(NEXT)
        for queue in self._queues.values():
            queue.forget()
        self.ask()

    def tick(self) -> None:
        """Regular care: requests that are overdue, queues that are silent, tasks that were held too long."""
        now = time.monotonic()
        for queue in self._queues.values():
            for number in [number for number, pull in queue.pulls.items() if pull[1] < now]:
                queue.ended(number)
            if queue.pulls and now - queue.heard > SILENCE_SECONDS:
                queue.forget()
        while self._held and self._held[0][0] + HOLD_SECONDS < now:
            _, task, _ = self._held.popleft()
            self._link.send(task.ack_subject, wire.NAK)
        self.ask()

    async def stop(self) -> None:
        """Ask no more, and give back what still comes."""
        self._stopped = True
        while self._held:
            self._link.send(self._held.popleft()[1].ack_subject, wire.NAK)
        # A pull that has not reached its consumer when nobody listens any more would swallow tasks until it
        # expires (docs/decisions/0013); what comes meanwhile is given back.
        await asyncio.sleep(PULL_UNDER_WAY_SECONDS)
        await self._link.close_deliveries()

    def _ask_now(self) -> None:
        self._scheduled = False
        if self._stopped or not self._link.is_up:
            return
        while self._held and self._room() > 0:
            _, task, queue = self._held.popleft()
            self._start(task, queue)
        free = self._room()
        if free <= 0:
            return
        now = time.monotonic()
        queues = [queue for queue in self._queues.values() if queue.not_before <= now]
        # Each queue may have its share of the free slots waiting for it, and always one: otherwise requests
        # that wait at an idle queue would keep a busy one from working. What then comes too much is held.
        share = max(1, free // max(1, len(queues)))
        unasked = free - sum(queue.asked for queue in queues)
        # A consumer keeps a limited number of requests: while most of a share is asked for, wait for more.
        least = max(1, share // 8)
        for queue in queues:
            lack = min(share - queue.asked, unasked)
            if lack <= 0 and queue.asked == 0:
                lack = 1
            if lack >= least or (lack > 0 and queue.asked == 0):
                unasked -= lack
                self._pull(queue, lack, now, EXPIRES_SECONDS if len(queues) == 1 else EXPIRES_SHARED_SECONDS)

    def _pull(self, queue: Queue, batch: int, now: float, expires: float) -> None:
        self._number += 1
        if not queue.pulls:
            queue.heard = now
        queue.pulls[self._number] = [batch, now + expires + 2.0]
        queue.asked += batch
        heartbeat = min(HEARTBEAT_SECONDS, expires / 2.5)
        self._link.send(
            NEXT + queue.consumer,
            wire.next_request(batch, expires, heartbeat),
            self._link.delivery_inbox(f"{queue.consumer}.{self._number}"),
        )

    def _on_message(self, message: Message) -> None:
        if message.header and message.status:
            self._on_status(message)
            return
        delivery = message.delivery
        queue = self._queues.get(delivery.consumer)
        if queue is None or self._stopped:
            self._link.send(message.reply, wire.NAK)
            return
        queue.arrived()
        try:
            task = wire.Task(message, delivery)
        except wire.MalformedTask as error:
            log.error("%s; it is given back and comes again in 30 s", error)
            self._link.send(message.reply, wire.nak(30.0))
            self.ask()
            return
        if self._room() > 0:
            self._start(task, queue)
        else:
            self._held.append((time.monotonic(), task, queue))
        self.ask()

    def _on_status(self, message: Message) -> None:
        consumer, number = message.subject.split(".")[-2:]
        queue = self._queues.get(consumer)
        if queue is None:
            return
        queue.heard = time.monotonic()
        status = message.status
        if status == 100:
            return
        queue.ended(int(number))
        text = message.header.partition(b"\r\n")[0].decode("utf-8", "replace")
        if status == 503 or (status == 409 and "deleted" in text.lower()):
            queue.forget()
            queue.not_before = time.monotonic() + 1.0
            self._lost(queue.skill)
        elif status not in {404, 408}:
            log.info("queue of skill %s: %s; asking again", queue.skill, text)
            queue.not_before = time.monotonic() + 0.5
        self.ask()
