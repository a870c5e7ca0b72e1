"""Words of the dialect and words of the gateway."""

from typing import Any

import orjson
import pytest

from services.api.dialects.avtomatika.task_ids import key_of, task_id_of
from services.api.dialects.avtomatika.worker_models import Registration, Result, registration_of
from services.api.dialects.avtomatika.worker_translation import (
    answer_of,
    contracts_of,
    outcome_of,
    profile_of,
    progress_of,
    task_of,
)
from services.api.gateway.tasks import Handed, Run, Task
from shared.domain.values import ACCEPTED, Verdict
from tests.unit.gateway.desk import JOB, key

NOW = 1_763_697_600_000_000


def result(**members: Any) -> Result:
    return Result(str(JOB), task_id_of(key()), **members)


def shown(released: dict[str, Any], now: int) -> dict[str, Any]:
    """A released task as its worker gets it."""
    return task_of(Handed(Task(JOB, released), 60.0), now)


def run(**facts: Any) -> Run:
    made = Run(key(), "w1", "echo", 0.0, 60.0)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_an_id_of_a_task_is_read_back_to_what_it_was_made_of() -> None:
    assert key_of(task_id_of(key(12, 3))) == key(12, 3)


@pytest.mark.parametrize("text", ["", "task-x-1-1", f"task-{JOB.hex}-0-1", f"task-{JOB.hex}-1", None, 7])
def test_other_ids_are_none_of_ours(text: object) -> None:
    assert key_of(text) is None


def test_a_task_tells_the_soonest_of_its_ends_and_what_the_client_said() -> None:
    now = NOW // 1_000_000
    released = {"task": 1, "skill": "echo", "run_timeout": 60.0, "result_by": NOW + 50_900_000}
    told = {"deadline": NOW + 40_000_000, "metadata": {"m": 1, "daybook.security": {"s": 2}}}
    bare = shown(released, now)
    assert (bare["deadline"], "metadata" in bare, "security" in bare) == (now + 50, False, False)
    full = shown({**released, **told}, now)
    assert (full["deadline"], full["metadata"], full["security"]) == (now + 40, {"m": 1}, {"s": 2})
    assert shown({**released, "run_timeout": 5.0}, now)["deadline"] == now + 5
    assert "deadline" not in shown({"task": 1, "skill": "echo"}, now)


def test_no_status_is_success() -> None:
    assert outcome_of(result(data={"a": 1}), NOW) == {
        "outcome": "succeeded",
        "output": {"a": 1},
        "started_at": None,
    }


def test_a_custom_status_is_a_port() -> None:
    assert outcome_of(result(status="needs_review"), NOW)["port"] == "needs_review"


def test_the_time_that_it_took_tells_when_it_began() -> None:
    said = result(costs={"execution_time_seconds": 1.5})
    assert outcome_of(said, NOW)["started_at"] == NOW - 1_500_000
    assert outcome_of(result(costs={"execution_time_seconds": "long"}), NOW)["started_at"] is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, {"kind": "transient", "message": "the worker gave no reason"}),
        ("plain", {"kind": "transient", "message": "plain"}),
        ({"code": 7, "message": None}, {"kind": "transient", "message": "", "code": "7"}),
        (
            {"code": "TIMEOUT_ERROR", "message": "m", "details": {"at": 1}},
            {"kind": "timeout", "message": "m", "code": "TIMEOUT_ERROR", "details": {"at": 1}},
        ),
    ],
)
def test_any_form_of_an_error_is_a_failure(error: Any, expected: dict[str, Any]) -> None:
    said = outcome_of(result(status="failure", error=error), NOW)
    assert (said["outcome"], said["error"]) == ("failed", expected)


@pytest.mark.parametrize(
    ("status", "held", "transition"),
    [
        (None, None, "success_transition"),
        ("needs_review", None, "success_transition"),
        ("needs_review", run(ports={"needs_review": "review"}), "success_transition"),
        ("needs_review", run(ports={"success": "done"}), "unhandled_status_failure"),
        ("success", run(ports={"failure": "failed"}), "success_transition"),
        ("failure", None, "failure_handled"),
        ("cancelled", None, "cancelled_handled"),
        ("success", run(in_group=True, ports={"*": "join"}), "parallel_branch_accepted"),
    ],
)
def test_an_accepted_result_is_told_what_it_did(
    status: str | None, held: Run | None, transition: str
) -> None:
    answer = answer_of(ACCEPTED, result(status=status), held)
    assert answer == {"status": "accepted", "transition": transition}


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("unknown_job", "job_not_found"),
        ("stale", "stale"),
        ("finished", "stale"),
        ("late", "late"),
        ("cancelled", "cancelled"),
        ("foreign", "worker_mismatch"),
    ],
)
def test_an_ignored_result_is_told_why_in_the_documents_words(reason: str, word: str) -> None:
    answer = answer_of(Verdict(accepted=False, reason=reason), result(), None)
    assert (answer["status"], answer["reason"]) == ("ignored", word)
    assert str(JOB) in answer["message"]


def test_a_registration_tells_what_placement_needs() -> None:
    document: dict[str, Any] = {
        "worker_id": "w1",
        "worker_type": "gpu",
        "supported_skills": ["plain", {"name": "render", "type": "gpu", "version": "2.0"}],
        "hot_skills": ["render"],
        "resources": {"properties": {"ram_gb": 64}, "devices": [{"type": "gpu"}]},
        "installed_software": {"python": "3.11"},
        "installed_artifacts": ["llama", {"name": "clip"}],
        "capabilities": {
            "hostname": "h",
            "cost_per_skill": {"render": 0.5},
            "extra": {"max_concurrent_tasks": 50},
        },
        "security": {"signature": "secret"},
    }
    profile = profile_of(registration_of(orjson.dumps(document)), document)
    assert profile.skills == ("plain", "render")
    assert profile.concurrency == 50
    candidate = profile.candidate
    assert candidate.skills["render"] == {"name": "render", "type": "gpu", "version": "2.0", "properties": {}}
    assert (candidate.cost("render"), candidate.hot) == (0.5, frozenset({"render"}))
    assert candidate.artifacts == [{"name": "llama"}, {"name": "clip"}]
    assert "security" not in profile.words
    assert profile.labels == {"transport": "http", "type": "gpu", "hostname": "h"}


def test_a_registration_of_nulls_is_one_of_nothing() -> None:
    profile = profile_of(Registration("w1"), {"worker_id": "w1"})
    assert (profile.skills, profile.concurrency) == ((), 10)


@pytest.mark.parametrize("payload", [{}, {"progress": "half"}, {"progress": True}])
def test_progress_without_a_number_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="progress"):
        progress_of(payload)


def test_progress_is_held_between_nothing_and_all() -> None:
    assert progress_of({"progress": 7, "message": 3}) == (1.0, "3")
    assert progress_of({"progress": -1}) == (0.0, None)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"step": "für", "ok": None}, '{"step": "für", "ok": null}'),
        ([1, True], "[1, true]"),
        (True, "true"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_a_message_that_is_no_text_is_kept_as_json(said: Any, kept: str) -> None:
    assert progress_of({"progress": 0.5, "message": said}) == (0.5, kept)


def test_a_worker_s_promises_are_kept_and_those_that_cannot_be_used_are_told() -> None:
    skills = [
        {"name": "a", "input_schema": {"type": "object"}, "output_schema": {"$ref": "http://elsewhere/x"}},
        {"name": "b", "events_schema": {"seen": {"required": ["n"]}}, "output_statuses": ["partial"]},
        {"name": "c", "output_schema": {"anything": "goes"}, "schema_dialect": "protobuf"},
        "d",
    ]
    registration = registration_of(orjson.dumps({"worker_id": "w1", "supported_skills": skills}))
    promised, problems = contracts_of(registration)
    assert sorted(promised) == ["a", "b"]
    assert promised["a"].gives is None
    assert promised["a"].refuses([]) is not None
    assert promised["b"].tells["seen"].problem({}) is not None
    assert promised["b"].lacks(["success", "partial", "other"]) == ["other"]
    assert len(problems) == 1
    assert problems[0].startswith("skill 'a': its output_schema is not used: ")
    assert profile_of(registration, {}, promised).contracts == promised
