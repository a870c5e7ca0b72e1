"""Skill queues: one durable pull consumer of the journal a skill, made when the first worker asks for it."""

import asyncio
import logging
from typing import Any

from shared.broker import subjects
from shared.broker.connection import Connection
from shared.broker.streams import declare_consumer

log = logging.getLogger("daybook.dispatcher.queues")

MAX_ACK_PENDING = 5_000
LONGEST_PULL_SECONDS = 30
"""The server forgets the way back of a pull that has been silent for 35 s (`response_threshold`): a pull that
lived longer would be filled with tasks that reach nobody."""


class Queues:
    """Opens each queue once a process; opening one that is there changes nothing.

    `ack_wait_seconds` is how long the broker waits for a sign of progress before it delivers a task again.
    """

    def __init__(self, connection: Connection, ack_wait_seconds: float) -> None:
        self._connection = connection
        self._ack_wait_seconds = ack_wait_seconds
        self._open: dict[str, asyncio.Future[None]] = {}

    async def open(self, skill: str) -> None:
        """Make sure that the queue of `skill` exists. Raises BrokerError when it cannot be."""
        opening = self._open.get(skill)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception())):
            opening = self._open[skill] = asyncio.ensure_future(self._declare(skill))
        await asyncio.shield(opening)

    def describe(self, skill: str) -> dict[str, Any]:
        """What a worker must know to pull from the queue of `skill`."""
        return {
            "skill": skill,
            "consumer": subjects.skill_consumer(skill),
            "ack_wait_seconds": self._ack_wait_seconds,
            "control": subjects.skill_control(skill),
        }

    async def _declare(self, skill: str) -> None:
        await declare_consumer(
            self._connection,
            subjects.JOURNAL,
            {
                "durable_name": subjects.skill_consumer(skill),
                "filter_subject": subjects.skill_filter(skill),
                "description": f"tasks of {skill}",
                "ack_policy": "explicit",
                "ack_wait": int(self._ack_wait_seconds * 1_000_000_000),
                "max_ack_pending": MAX_ACK_PENDING,
                "max_waiting": 2048,
                "max_expires": LONGEST_PULL_SECONDS * 1_000_000_000,
                "deliver_policy": "all",
                "replay_policy": "instant",
            },
        )
        log.info("the queue of skill %s is open", skill)
