"""The one writer of snapshots: the states of long jobs, taken as they are decided and written behind them.

The state is copied when a decision has been stored and answered, which is when it is exactly what the journal
has. Packing and writing happen in the background, many at once, so no decision waits for them; what is lost
of it is taken again.
"""

import asyncio
import logging
from uuid import UUID

from services.dispatcher.slots import Slot
from shared.application.ports import JournalError, Recorded
from shared.domain.job import Job
from shared.journal.snapshots import Snapshots, Taken

log = logging.getLogger("daybook.dispatcher.snapshots")

GATHER_SECONDS = 0.5
"""How long snapshots are gathered before they are written together."""

MOST_BYTES = 64 * 1024 * 1024
"""Nothing more is taken while so much waits to be written."""

SHARE = 8
"""The next snapshot waits for an eighth of the history, if that is more: copying a long state costs, too."""


class SnapshotKeeper:
    """Sees each job that was stored or loaded, and keeps a snapshot of those that are long."""

    def __init__(self, snapshots: Snapshots, every: int) -> None:
        """A snapshot is taken when `every` events came since the last one."""
        self._snapshots = snapshots
        self._every = every
        self._waiting: dict[tuple[str, UUID], Taken | None] = {}
        self._bytes = 0
        self._some = asyncio.Event()

    def stored(self, slot: Slot) -> None:
        """The job is as the journal has it, unless a decision is under way already."""
        job = slot.job
        if job is None or slot.busy or slot.tip is None:
            return
        if job.is_ended:
            if slot.snapshot:
                slot.snapshot = 0
                self._put(("job", job.id), None)
        elif job.version - slot.snapshot >= max(self._every, job.version // SHARE):
            self._take(slot, Recorded(job, slot.sequence, slot.tip))

    async def run(self) -> None:
        """Write what is taken, for ever."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken up to now. What cannot be written is logged, and taken again later."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        self._some.clear()
        taken = {key: snapshot for key, snapshot in waiting.items() if snapshot is not None}
        gone = [key for key, snapshot in waiting.items() if snapshot is None]
        try:
            if taken:
                packed = await asyncio.to_thread(_pack, taken)
                await self._snapshots.store.put(packed)
                for key in packed:
                    log.debug("%s %s: snapshot at version %d", *key, taken[key].version)
            if gone:
                await self._snapshots.store.remove(gone)
        except JournalError as problem:
            log.warning("%s", problem)

    def _take(self, slot: Slot, recorded: Recorded[Job]) -> None:
        if self._bytes > MOST_BYTES:
            return
        slot.snapshot = recorded.aggregate.version  # also if it fails: not again at once
        try:
            taken = self._snapshots.take(recorded)
        except (TypeError, ValueError):  # the state cannot be written as JSON
            log.exception("job %s: no snapshot can be taken", slot.id)
            return
        self._bytes += len(taken.body)
        self._put((taken.kind, taken.id), taken)

    def _put(self, key: tuple[str, UUID], taken: Taken | None) -> None:
        self._waiting[key] = taken
        self._some.set()


def _pack(taken: dict[tuple[str, UUID], Taken]) -> dict[tuple[str, UUID], bytes]:
    return {key: snapshot.packed() for key, snapshot in taken.items()}
