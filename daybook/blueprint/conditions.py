"""When a handler is the one for a job: `F.initial_data["kind"] == "urgent"`, kept as data and asked later.

    @bp.handler("decide", (F.initial_data["priority"] >= 8) & ~F.state_history["checked"])

What is missing on the way, or cannot be compared, makes the condition false and never an error. `==` and
`&` build a condition, so `and`, `or` and `not` cannot be used.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

_MISSING: Final = object()
"""There is nothing there. Every comparison with it is false, also that it is not equal."""

Step = Callable[[Any], Any]


class Condition:
    """What to look at, and how. Attributes and items that are asked of it are looked up in the job's view."""

    __slots__ = ("_each", "_read", "_words")

    def __init__(self, read: Step, words: str, each: bool = False) -> None:
        self._read, self._words, self._each = read, words, each

    def holds(self, subject: Any) -> bool:
        """Whether it is true of `subject`. What a predicate of `func` raises is false too."""
        try:
            found = self._read(subject)
            if self._each:
                return bool(found) and all(_truth(one) for one in found)
            return _truth(found)
        except Exception:  # noqa: BLE001 (a condition that cannot be asked does not hold)
            return False

    resolve = holds

    def __getattr__(self, name: str) -> "Condition":
        if name.startswith("__"):
            raise AttributeError(name)
        return self.attr_(name)

    def attr_(self, name: str) -> "Condition":
        """An attribute, also one whose name is that of a method here."""
        return self._then(lambda value: _attribute(value, name), f".{name}")

    def __getitem__(self, key: Any) -> "Condition":
        if key is Ellipsis:
            if self._each:
                return Condition(
                    lambda s: [i for v in self._read(s) for i in _items(v)], f"{self}[...]", True
                )
            return Condition(lambda subject: _items(self._read(subject)), f"{self}[...]", True)
        return self._then(lambda value: _item(value, key), f"[{key!r}]")

    def __call__(self, *arguments: Any, **named: Any) -> "Condition":
        return self._then(lambda value: value(*arguments, **named), "(…)")

    def __eq__(self, other: object) -> "Condition":  # type: ignore[override]  # it builds a condition
        return self._compared(operator.eq, other, "==")

    def __ne__(self, other: object) -> "Condition":  # type: ignore[override]  # it builds a condition
        return self._compared(operator.ne, other, "!=")

    def __lt__(self, other: Any) -> "Condition":
        return self._compared(operator.lt, other, "<")

    def __le__(self, other: Any) -> "Condition":
        return self._compared(operator.le, other, "<=")

    def __gt__(self, other: Any) -> "Condition":
        return self._compared(operator.gt, other, ">")

    def __ge__(self, other: Any) -> "Condition":
        return self._compared(operator.ge, other, ">=")

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(lambda subject: self.holds(subject) and other.holds(subject), f"({self} & {other})")

    def __or__(self, other: "Condition") -> "Condition":
        return Condition(lambda subject: self.holds(subject) or other.holds(subject), f"({self} | {other})")

    def __invert__(self) -> "Condition":
        return Condition(lambda subject: not self.holds(subject), f"~{self}")

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{self} is asked when the handler runs: write &, | and ~ for and, or and not")

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return self._words

    def in_(self, values: Iterable[Any]) -> "Condition":
        """The value is one of `values`."""
        known = list(values)
        return self._then(lambda value: value in known, f".in_({known!r})")

    def not_in(self, values: Iterable[Any]) -> "Condition":
        """The value is there, and none of `values`."""
        known = list(values)
        return self._then(lambda value: value not in known, f".not_in({known!r})")

    def contains(self, item: Any) -> "Condition":
        """The value holds `item`."""
        return self._then(lambda value: item in value, f".contains({item!r})")

    def is_(self, other: Any) -> "Condition":
        return self._then(lambda value: value is other, f".is_({other!r})")

    def is_not(self, other: Any) -> "Condition":
        return self._then(lambda value: value is not other, f".is_not({other!r})")

    def not_(self) -> "Condition":
        return ~self

    def len(self) -> "Condition":
        """How many items the value has."""
        return self._then(len, ".len()")

    def cast(self, kind: Callable[[Any], Any]) -> "Condition":
        """The value as another type."""
        return self._then(kind, f".cast({getattr(kind, '__name__', kind)})")

    def regexp(self, pattern: str) -> "Condition":
        """The pattern is found somewhere in the text."""
        compiled = re.compile(pattern)
        return self._then(lambda value: compiled.search(value) is not None, f".regexp({pattern!r})")

    def func(self, predicate: Callable[[Any], Any]) -> "Condition":
        """What a function of one's own says of the value."""
        return self._then(predicate, f".func({getattr(predicate, '__name__', predicate)})")

    def any(self) -> "Condition":
        """True of one of the items, behind `[...]`."""
        return Condition(lambda subject: any(_truth(one) for one in self._read(subject)), f"{self}.any()")

    def all(self) -> "Condition":
        """True of each of the items, behind `[...]`; not of no items."""
        return Condition(
            lambda s: bool(found := self._read(s)) and all(_truth(one) for one in found), f"{self}.all()"
        )

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any, sign: str) -> "Condition":
        if isinstance(other, Condition):
            read, others = self._read, other._read  # noqa: SLF001 (another of this class)
            return Condition(
                lambda subject: compare(_there(read(subject)), _there(others(subject))),
                f"{self} {sign} {other}",
            )
        return self._then(lambda value: compare(value, other), f" {sign} {other!r}")

    def _then(self, step: Step, words: str) -> "Condition":
        """The condition with one step more, for each item behind `[...]`."""
        read = self._read

        def attempt(value: Any) -> Any:
            if value is _MISSING:
                return _MISSING
            try:
                return step(value)
            except (TypeError, ValueError, LookupError, AttributeError):
                return _MISSING

        if self._each:
            return Condition(lambda subject: [attempt(one) for one in read(subject)], f"{self}{words}", True)
        return Condition(lambda subject: attempt(read(subject)), f"{self}{words}")


def _truth(value: Any) -> bool:
    return value is not _MISSING and bool(value)


def _there(value: Any) -> Any:
    if value is _MISSING:
        raise LookupError
    return value


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, Mapping) and name in value:
        return value[name]
    return getattr(value, name, _MISSING)


def _item(value: Any, key: Any) -> Any:
    return value[key] if value is not None else _MISSING


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


F: Final = Condition(lambda subject: subject, "F")
"""The job, as conditions begin: `F.initial_data`, `F.state_history`, `F.job_id`, …"""
