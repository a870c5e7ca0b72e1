"""What derives from the journal beside the projector, on the commits that it has read anyway.

Each has a position of its own, kept in one transaction with what it derives. Until it has caught up with the
projector it follows the journal by itself.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from shared.application.ports import Journal, StoredCommit
from shared.journal.follow import JournalWentBack

log = logging.getLogger(__name__)


class Beside(Protocol):
    """Something that the projector tells of what it has projected."""

    def saw(self, commits: Sequence[StoredCommit]) -> None:
        """These were projected. They may come again."""
        ...

    def went_back(self, last: int) -> None:
        """The journal ends at `last` now."""
        ...


class Together(Beside):
    """Several of them as one."""

    def __init__(self, *each: Beside) -> None:
        self._each = each

    def saw(self, commits: Sequence[StoredCommit]) -> None:
        for beside in self._each:
            beside.saw(commits)

    def went_back(self, last: int) -> None:
        for beside in self._each:
            beside.went_back(last)


class Trailing(Beside):
    """A position that follows the projector's. Not to be used from several tasks at once."""

    def __init__(self, what: str, position: int) -> None:
        """`what` is for the log."""
        self.position = position
        self._what, self._beside = what, False

    def take(self, fresh: Sequence[StoredCommit]) -> None:
        """Derive from commits behind the position, which has moved behind them."""
        raise NotImplementedError

    async def catch_up(self, journal: Journal, projected: Callable[[], int]) -> None:
        """Follow until the projector is reached; from then on `saw` is enough."""
        if self.position > (last := await journal.last_sequence()):
            self.went_back(last)
        while self.position < projected():
            try:
                async with contextlib.aclosing(journal.follow(self.position)) as batches:  # type: ignore[type-var]
                    async for commits in batches:
                        self._take(commits)
                        if self.position >= projected():
                            break
            except JournalWentBack as back:
                self.went_back(back.last)
        self._beside = True
        log.info("%s are derived up to %d", self._what, self.position)

    def saw(self, commits: Sequence[StoredCommit]) -> None:
        if self._beside:
            self._take(commits)

    def went_back(self, last: int) -> None:
        self.position = min(self.position, last)

    def _take(self, commits: Iterable[StoredCommit]) -> None:
        fresh = [commit for commit in commits if commit.sequence > self.position]
        if not fresh:
            return
        before, self.position = self.position, fresh[-1].sequence
        try:
            self.take(fresh)
        except BaseException:
            self.position = before  # or the end of the process would keep it without what derives
            raise
