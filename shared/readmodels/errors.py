"""What can go wrong with a read model.

ReadModelError
├── ReadModelUnavailable   no store yet, or it cannot be reached: try later
├── PositionMoved          another projector wrote first: start again from the stored position
├── InvalidCursor          the caller's cursor is not one of ours
└── UnfitCommit            one commit cannot become rows: it is kept as poison and the rest goes on
"""


class ReadModelError(Exception):
    """The read model could not do it."""


class ReadModelUnavailable(ReadModelError):
    """There is no store yet, or it cannot be reached. Try later."""


class PositionMoved(ReadModelError):
    """Another projector moved the position. Forget what is in memory and start from the store again."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"the stored position is no longer {expected}")
        self.expected = expected


class InvalidCursor(ReadModelError):
    """The cursor was not made here, or not whole."""

    def __init__(self, cursor: str) -> None:
        super().__init__(f"no cursor of ours: {cursor[:40]!r}")


class UnfitCommit(ReadModelError):
    """A commit that cannot become rows: an unknown event, missing fields, values that no column takes."""
