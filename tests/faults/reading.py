"""Reading the broker from outside: the journal's raw messages, and what the queues still hold."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from tests.faults.history import TERMINAL, History, MalformedCommitError, commit_of, history_of
from tests.support.system import System

STREAM = "JOURNAL"


@dataclass
class JournalReader:
    """Collects the journal's messages as they are stored; each reading goes on behind the last."""

    system: System
    messages: list[tuple[int, str, bytes]] = field(default_factory=list)
    jobs: set[UUID] = field(default_factory=set)
    ended: set[UUID] = field(default_factory=set)

    async def catch_up(self) -> int:
        """Read all that is there; the stream's last sequence. Raises what nats-py raises when it cannot."""
        nc = await connect(self.system)
        try:
            js = nc.jetstream()
            last = (await js.stream_info(STREAM)).state.last_seq
            after = self.messages[-1][0] if self.messages else 0
            if last <= after:
                return after
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=after + 1,
                ack_policy=AckPolicy.NONE,
            )
            subscription = await js.subscribe(
                "journal.>", stream=STREAM, ordered_consumer=True, config=config
            )
            while True:
                message = await subscription.next_msg(timeout=30)
                sequence = message.metadata.sequence.stream
                self._take(sequence, message.subject, message.data)
                if sequence >= last:
                    return last
        finally:
            await nc.close()

    def _take(self, sequence: int, subject: str, raw: bytes) -> None:
        self.messages.append((sequence, subject, raw))
        with suppress(MalformedCommitError):  # the rules tell of it
            commit = commit_of(sequence, subject, raw)
            if commit.kind == "job":
                self.jobs.add(commit.id)
                if any(event.topic in TERMINAL for event in commit.events):
                    self.ended.add(commit.id)

    def history(self) -> History:
        return history_of(self.messages)


async def waiting(system: System) -> dict[str, int]:
    """What each skill's queue holds: messages that wait, and those that are out and not acknowledged."""
    nc = await connect(system)
    try:
        consumers = await nc.jetstream().consumers_info(STREAM)
        return {
            info.name: (info.num_pending or 0) + (info.num_ack_pending or 0)
            for info in consumers
            if info.name.startswith("skill_")
        }
    finally:
        await nc.close()


async def projected(system: System) -> int:
    """The sequence up to which the projector has come; 0 when it does not answer."""
    nc = await connect(system)
    try:
        answer = await nc.request("projector.command", b'{"command":"status"}', timeout=10)
        return int(json.loads(answer.data)["position"])
    except (TimeoutError, NatsError):
        return 0
    finally:
        await nc.close()


async def connect(system: System) -> Client:
    """A plain connection with all rights, which gives up at the first trouble."""
    return await nats.connect(
        system.nats, user="daybook", password=system.nats_password, allow_reconnect=False, connect_timeout=30
    )
