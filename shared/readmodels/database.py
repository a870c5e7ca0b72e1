"""What a backend gives: sessions that run the one set of queries, and generations that can be swapped."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]


class Session(Protocol):
    """One connection, used by one thread at a time. Queries spell their parameters `?`."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        ...

    def stream(self, sql: str, parameters: Sequence[Any] = (), size: int = 1000) -> Iterator[list[Row]]:
        """The rows of a query in lists of at most `size`, never all in memory. Inside a transaction only."""
        ...

    def write(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement once a row; how many rows changed.

        Raises UnfitCommit when a value or a key does not fit.
        """
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything inside is stored together or not at all."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """All reads inside see one moment."""
        ...

    @property
    def usable(self) -> bool:
        """False when the connection is lost for good: open another session."""
        ...

    def close(self) -> None: ...


class Database(Protocol):
    """A place for one served store and, while it is rebuilt, one beside it."""

    def reader(self) -> Session:
        """A session that reads the served store. Raises ReadModelUnavailable when there is none."""
        ...

    def served(self) -> str:
        """Which store is served; another word after each swap. Cheap: readers ask before each query."""
        ...

    def writer(self) -> Session:
        """A session that writes the served store, made new if there is none or its schema is not today's."""
        ...

    def beside(self) -> Session:
        """A session that writes a new, empty store beside the served one, in the place of an older one."""
        ...

    def swap(self) -> None:
        """Serve the store beside and drop the one served till now. Its sessions must be closed first."""
        ...

    def drop_beside(self) -> None:
        """Throw the store beside away."""
        ...
