"""What people see: tables, colours, times; and what programs see instead, JSON.

Text that came from a server goes through `clean` first: an escape sequence in a job's output must not reach
the terminal, and square brackets in it are no markup of ours.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Mapping[str, str] = {
    "succeeded": "green",
    "online": "green",
    "failed": "red",
    "timed_out": "red",
    "quarantined": "red",
    "lost": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "running": "cyan",
    "assigned": "cyan",
    "left": "dim",
}

WIDEST_VALUE = 300
"""Characters of a value in a table; `--json` shows all of it."""


def console() -> Console:
    """Standard output as it is now; wide when it is not a terminal, so that lines stay whole for grep."""
    plain = not sys.stdout.isatty()
    return Console(width=200 if plain else None, highlight=False, soft_wrap=plain)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def clean(value: object) -> str:
    """The text without control characters: no escape sequences, no tricks with the direction of writing."""
    return "".join(_harmless(character) for character in str(value))


def styled(value: object, style: str = "") -> Text:
    """Cleaned text that rich takes literally."""
    return Text(clean(value), style=style)


def status(word: str) -> Text:
    return styled(word, STYLES.get(word, ""))


def compact(value: Any) -> str:
    """A JSON value on one line, cut when it is long."""
    text = clean(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = clean(text)
    return text if len(text) <= WIDEST_VALUE else text[: WIDEST_VALUE - 1] + "…"


def as_json(value: Any) -> None:
    """Print a value for programs. ASCII only, so that nothing in it can steer a terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True, default=_plain))


def as_json_line(value: Any) -> None:
    """One value of a stream of them."""
    print(json.dumps(value, ensure_ascii=True, default=_plain), flush=True)


def clock(moment: datetime | None) -> str:
    """Time of day to the millisecond, local time."""
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def moment_of(text: str | None) -> datetime | None:
    """The moment that an ISO-8601 text names; None for none."""
    return None if text is None else datetime.fromisoformat(text)


def day_and_time(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def lasted(start: datetime | None, end: datetime | None) -> str:
    """How long from start to end, in the unit that fits; empty when either is not known."""
    if start is None or end is None:
        return ""
    return duration(end - start)


def duration(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Rows of values; whatever is not Text is cleaned."""
    made = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else styled(cell) for cell in row))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values beneath each other; pairs without a value are left out."""
    made = Table(show_header=False, box=None, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", {}, []):
            made.add_row(name, value if isinstance(value, Text) else styled(value))
    return made


def _harmless(character: str) -> str:
    # Cc are the control characters; Cf has the ones that turn the direction of writing around.
    if character in "\n\t":
        return " "
    return "" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)
