"""What may be a skill, and how errors of skills are told."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from daybook import Worker
from daybook.environment import secret
from daybook.errors import DaybookError, InvalidInput, SkillError, TransientError
from daybook.worker import tracing
from daybook.worker.outcome import error_of
from daybook.worker.skills import skill_of


async def coroutine(given: Any) -> None: ...


def plain(given: Any) -> None: ...


def with_context(given: Any, task: Any) -> None: ...


def with_option(given: Any, task: Any = None, *, verbose: bool = False) -> None: ...


def none() -> None: ...


def three(given: Any, task: Any, more: Any) -> None: ...


def keyword(given: Any, *, needed: Any) -> None: ...


class Callable:
    async def __call__(self, given: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "executor", "wants_context"),
    [
        (coroutine, "async", False),
        (plain, "thread", False),
        (with_context, "thread", True),
        (with_option, "thread", True),
        (Callable(), "async", False),
    ],
)
def test_a_function_tells_by_itself_how_it_runs(function: Any, executor: str, wants_context: bool) -> None:
    skill = skill_of("s", function)
    assert (skill.executor, skill.wants_context) == (executor, wants_context)


@pytest.mark.parametrize(
    ("function", "options", "text"),
    [
        (none, {}, "must take"),
        (three, {}, "must take"),
        (keyword, {}, "keyword-only"),
        ("text", {}, "is not a function"),
        (coroutine, {"executor": "thread"}, "is a coroutine"),
        (plain, {"executor": "gpu"}, "executor must be one of async, thread, process"),
        (plain, {"timeout": 0}, "more than 0 seconds"),
        (lambda given: given, {"executor": "process"}, "at the top of a module"),
    ],
)
def test_what_cannot_be_a_skill_is_refused_with_its_name(
    function: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"skill 's'.*{text}"):
        skill_of("s", function, **options)


def test_a_skill_is_registered_once_and_stays_a_function() -> None:
    worker = Worker()
    assert worker.skill("s")(plain) is plain
    with pytest.raises(ValueError, match="'s' is registered twice"):
        worker.add("s", plain)


def test_a_worker_is_set_up_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_NATS_URL", "nats://broker:4222")
    monkeypatch.setenv("DAYBOOK_WORKER_NAME", "w9")
    worker = Worker()
    assert (worker.nats_url, worker.name) == ("nats://broker:4222", "w9")
    assert Worker("nats://other:1", name="w1").nats_url == "nats://other:1"


def test_errors_of_skills_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(InvalidInput("no", code="c", details={"a": 1})))
    assert type(error) is InvalidInput
    assert (error.message, error.code, error.details) == ("no", "c", {"a": 1})


def test_details_that_are_not_json_are_told_as_text() -> None:
    assert error_of(TransientError("x", details={1, 2}))["details"] == "{1, 2}"


def test_an_error_without_words_is_told_by_its_class() -> None:
    assert error_of(SkillError())["message"] == "SkillError"
    assert error_of(KeyError())["message"] == "KeyError"


def test_a_long_message_is_cut() -> None:
    assert len(error_of(ValueError("x" * 100_000))["message"]) == 8000


@pytest.mark.parametrize("text", ["", "00-0-0-00", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 55])
def test_a_trace_context_that_is_none_is_left_out(text: str) -> None:
    assert tracing.attach(text) is None


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DAYBOOK_WORKER_TOKEN", raising=False)
    assert secret("DAYBOOK_WORKER_TOKEN") == ""
    monkeypatch.setenv("DAYBOOK_WORKER_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(DaybookError, match="DAYBOOK_WORKER_TOKEN_FILE: cannot read"):
        secret("DAYBOOK_WORKER_TOKEN")
    (tmp_path / "token").write_text("from the file\n")
    assert secret("DAYBOOK_WORKER_TOKEN") == "from the file"
    monkeypatch.setenv("DAYBOOK_WORKER_TOKEN", "from the variable")
    assert secret("DAYBOOK_WORKER_TOKEN") == "from the variable"
