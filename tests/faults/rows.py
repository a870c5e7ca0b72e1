"""The read model as it was served, and as a replay of the journal's messages gives it.

This is the one place here that uses the product's own code: what a row must hold is what its fold says, and
the rule is that killing processes changes nothing about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.codec import Codec
from shared.readmodels import queries
from shared.readmodels.database import Session
from shared.readmodels.digest import digest, first_difference
from shared.readmodels.projection import Projection
from shared.readmodels.sqlite import SqliteDatabase

BATCH = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two digests at the journal's last sequence; `difference` names the first row that is not in both.

    `position` is how far the served rows had come, `poisoned` how many commits the replay could not fold.
    """

    served: str
    rebuilt: str
    position: int
    poisoned: int
    difference: str


def compare(data: Path, messages: Sequence[tuple[int, str, bytes]], scratch: Path) -> Comparison:
    """Replay `messages` into a store under `scratch` and hold it against the one under `data`."""
    codec = Codec(EVENTS, AGGREGATES)
    rebuilt = SqliteDatabase(scratch).writer()
    projection = Projection(rebuilt)
    for start in range(0, len(messages), BATCH):
        projection.project([codec.decode(*message) for message in messages[start : start + BATCH]])
    served = SqliteDatabase(data / "readmodel").reader()
    try:
        return _compared(served, rebuilt, projection.poisoned)
    finally:
        served.close()
        rebuilt.close()


def _compared(served: Session, rebuilt: Session, poisoned: int) -> Comparison:
    with served.snapshot(), rebuilt.snapshot():
        return Comparison(
            served=digest(served),
            rebuilt=digest(rebuilt),
            position=queries.position(served),
            poisoned=poisoned,
            difference=str(first_difference(served, rebuilt) or ""),
        )
