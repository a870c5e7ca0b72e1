"""Reading commits that this release cannot read: they become poison, and never stop the stream."""

from collections.abc import Mapping
from typing import Any

from shared.application.ports import StoredCommit
from shared.broker.subjects import id_of
from shared.journal.codec import Codec


class TolerantCodec(Codec):
    """Decodes everything. What is not a commit comes without events, which no row can take."""

    def decode(self, sequence: int, subject: str, raw: bytes) -> StoredCommit:
        try:
            return super().decode(sequence, subject, raw)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            # Its bytes tell nothing; its subject was checked by the one who stored it.
            _, kind, token, n, *_ = subject.split(".")
            return StoredCommit(
                sequence=sequence, kind=kind, id=id_of(token), n=int(n), at=0, by="", events=(), raw=raw
            )

    def _upcast(self, event: tuple[Any, ...]) -> tuple[str, Mapping[str, Any]]:
        if len(event) > 2:
            plan = self._plans.get(event[0])
            if plan is not None and event[2] > plan.version:
                # Its fields mean what a newer release says; today's fold must not read them.
                return f"{event[0]} of class version {event[2]}", event[1]
        return super()._upcast(event)
