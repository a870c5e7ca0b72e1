"""What reaches the terminal."""

import json
from datetime import timedelta

import pytest
from rich.console import Console

from daybook.cli import show


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07", "]0;title"),
        ("\x9b31mC1", "31mC1"),
        ("over\rwritten\x08", "overwritten"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("two\nlines\tand tabs", "two lines and tabs"),
        ("grün, 日本, 🙂", "grün, 日本, 🙂"),
    ],
)
def test_control_characters_of_a_server_do_not_reach_the_terminal(text: str, shown: str) -> None:
    assert show.clean(text) == shown


def test_square_brackets_of_a_server_are_no_markup() -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(show.table(("[bold]a[/bold]",), [("[red]x[/red][link=http://evil]y",)]))
    assert "[red]x[/red][link=http://evil]y" in capture.get()


def test_json_carries_everything_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "\x1b[31m \x9b \u202e ü"}
    show.as_json(value)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed) == value


def test_a_long_value_is_cut_and_says_so() -> None:
    assert show.compact({"a": 1}) == '{"a": 1}'
    cut = show.compact("x" * 5000)
    assert len(cut) == show.WIDEST_VALUE
    assert cut.endswith("…")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (5.04, "5.0 s"), (65, "1 min 5 s"), (7325, "2 h 2 min")],
)
def test_a_span_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert show.duration(timedelta(seconds=seconds)) == text
