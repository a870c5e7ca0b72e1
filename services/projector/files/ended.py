"""Which jobs have ended, so that their files can go."""

from collections.abc import Callable, Sequence
from typing import Final

from services.projector.beside import Trailing
from services.projector.files.due import Due
from shared.application.ports import StoredCommit
from shared.domain.values import ENDINGS

PERSIST_EVERY: Final = 20_000
"""Commits without an end after which the position is kept all the same."""


class Ended(Trailing):
    """Turns the ends of jobs into rows."""

    def __init__(self, due: Due, keep_us: int, news: Callable[[], None]) -> None:
        """Files outlive their job by `keep_us`; `news` is called when there are ended jobs, and is quick."""
        super().__init__("jobs whose files go", due.position)
        self._due, self._keep, self._news = due, keep_us, news
        self._stored = self.position

    def take(self, fresh: Sequence[StoredCommit]) -> None:
        ended = [(commit.id, commit.at + self._keep) for commit in fresh if _is_end(commit)]
        if ended or self.position - self._stored >= PERSIST_EVERY:
            self._due.store(ended, self.position)
            self._stored = self.position
        if ended:
            self._news()

    def keep(self) -> None:
        """Keep the position."""
        if self.position != self._stored:
            self._due.store([], self.position)
            self._stored = self.position


def _is_end(commit: StoredCommit) -> bool:
    at: object = commit.at  # what is not a commit of ours is the projector's to tell
    return (
        commit.kind == "job" and isinstance(at, int) and any(topic in ENDINGS for topic, _ in commit.events)
    )
