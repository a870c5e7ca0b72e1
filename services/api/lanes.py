"""The fast lane: which tasks this process may release itself, by what the dispatcher last said.

The dispatcher publishes how many releases of each skill are free behind a stream sequence. Own releases
that it had not seen then are subtracted. Old news closes every lane: a task is then queued and the
dispatcher releases it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

FRESH_SECONDS: Final = 2.0


class LanesNews(msgspec.Struct):
    """What the dispatcher says: `lanes` has the room of each skill beyond stream sequence `as_of`."""

    as_of: int
    lanes: dict[str, int]


class Lanes:
    """The room of every skill as known here. One event loop uses it; nothing in it waits."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._room: Mapping[str, int] = {}
        self._as_of = 0
        self._heard = float("-inf")
        self._own: dict[str, deque[int]] = {}
        self._pending: dict[str, int] = {}

    def heard(self, news: LanesNews) -> None:
        """Take the dispatcher's newest word."""
        if news.as_of < self._as_of:
            return  # an older dispatcher's last word, overtaken
        self._room, self._as_of, self._heard = news.lanes, news.as_of, self._monotonic()
        for skill in list(self._own):
            own = self._own[skill]
            while own and own[0] <= news.as_of:
                own.popleft()
            if not own:
                del self._own[skill]

    def room(self, skill: str) -> int:
        """How many tasks of `skill` may be released here and now."""
        room = self._room.get(skill, 0)
        if room <= 0 or self._monotonic() - self._heard > FRESH_SECONDS:
            return 0
        own = self._own.get(skill)
        return room - self._pending.get(skill, 0) - (len(own) if own else 0)

    def reserve(self) -> "Reservation":
        """The lanes as one decision may use them. Settle it with `stored` or `dropped`."""
        return Reservation(self)

    def _take(self, skill: str) -> None:
        self._pending[skill] = self._pending.get(skill, 0) + 1

    def _settle(self, skills: Iterable[str], sequence: int | None) -> None:
        for skill in skills:
            left = self._pending[skill] - 1
            if left:
                self._pending[skill] = left
            else:
                del self._pending[skill]
            # Answers may come out of order by a few sequences: then a release counts a little longer than
            # needed.
            if sequence is not None and sequence > self._as_of:
                self._own.setdefault(skill, deque()).append(sequence)


class Reservation:
    """What one decision took from the lanes. It counts before the append, so that decisions in flight see
    it.
    """

    __slots__ = ("_lanes", "_skills")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes, self._skills = lanes, list[str]()

    def has_room(self, skill: str) -> bool:
        """Whether one more task of `skill` may be released; True takes the place."""
        if self._lanes.room(skill) <= 0:
            return False
        self._lanes._take(skill)  # noqa: SLF001 (one thing in two classes)
        self._skills.append(skill)
        return True

    def stored(self, sequence: int) -> None:
        """The releases stand in the journal at `sequence`, or may stand there: count them until they are
        seen.
        """
        self._lanes._settle(self._skills, sequence)  # noqa: SLF001
        self._skills = []

    def dropped(self) -> None:
        """Nothing was released."""
        self._lanes._settle(self._skills, None)  # noqa: SLF001
        self._skills = []
