"""Log lines."""

import json
import logging
from collections.abc import Iterator

import pytest

from shared.logs import log_to_stderr


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_production_has_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("api", level="info", style="json")
    log = logging.getLogger("some.module")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it %s", "broke", extra={"job": "j1"})
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    entry = json.loads(line)
    assert entry["role"] == "api"
    assert entry["level"] == "error"
    assert entry["logger"] == "some.module"
    assert entry["message"] == "it broke"
    assert entry["job"] == "j1"
    assert "ValueError" in entry["trouble"]


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_secret_is_struck_out_wherever_it_stands(capsys: pytest.CaptureFixture[str], style: str) -> None:
    log_to_stderr(
        "api", level="info", style="json" if style == "json" else "text", secrets=["canary", "canary-2"]
    )
    try:
        raise ValueError("canary-2 in an error")
    except ValueError:
        logging.getLogger("x").exception("canary in %s", "canary", extra={"token": "canary"})
    printed = capsys.readouterr().err
    assert "canary" not in printed
    assert "***-2" not in printed


def test_people_get_a_line_with_time_level_and_role(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("projector", level="warning", style="text")
    logging.getLogger("x").info("too quiet")
    logging.getLogger("x").warning("heard", extra={"lag": 3})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.split()[1:] == ["warning", "projector", "heard", "lag=3"]
