"""What the domain refuses, as one tree.

DomainError
├── IllegalTransition   the state does not allow it (any more)
├── NotThere            the aggregate has no such task, version, wait …
├── InvalidValue        an argument means nothing here
│   └── InvalidGraph    a graph that cannot run, with every problem found
└── ExpressionError     an expression of a graph could not be evaluated; the node fails with it
"""

from collections.abc import Sequence
from typing import ClassVar


class DomainError(Exception):
    """The command cannot be done; nothing has changed. `code` is the word for it on every wire."""

    code: ClassVar[str] = "illegal"


class IllegalTransition(DomainError):
    """The state does not allow the command. Asking again does not help until the state changes."""

    def __init__(self, command: str, status: str, why: str = "") -> None:
        super().__init__(f"cannot {command}: {why or f'the state is {status}'}")
        self.command, self.status = command, status


class NotThere(DomainError):
    """The aggregate has nothing of that name."""

    code: ClassVar[str] = "not_found"

    def __init__(self, what: str, name: object) -> None:
        super().__init__(f"there is no {what} {name}")
        self.what, self.name = what, name


class InvalidValue(DomainError):
    """An argument means nothing here; the message says which and why."""

    code: ClassVar[str] = "invalid"


class InvalidGraph(InvalidValue):
    """A graph that cannot run. `problems` holds a sentence for each, naming the node."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class ExpressionError(DomainError):
    """An expression could not be evaluated. The node that holds it fails with `invalid_input`."""

    code: ClassVar[str] = "invalid"

    def __init__(self, expression: str, why: str) -> None:
        super().__init__(f"{expression!r}: {why}")
        self.expression, self.why = expression, why
