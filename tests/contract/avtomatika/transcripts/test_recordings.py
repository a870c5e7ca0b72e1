"""The recordings are all used, the list of deviations is true, and the comparison can fail."""

import json
from typing import Any

from tests.contract.avtomatika.transcripts import deviations
from tests.contract.avtomatika.transcripts.comparing import HERE, PROTOCOL, RECORDED, differences, recording
from tests.contract.avtomatika.transcripts.deviations import DEVIATIONS

ANSWER: dict[str, Any] = {
    "status": 200,
    "headers": {"content-type": "application/json; charset=utf-8", PROTOCOL: "1.0b15"},
    "body": {"status": "ok", "timestamp": "<now>", "progress": 0.5, "metadata": {"a": 1}, "job_id": "<job>"},
}
JOB = "0199a9f2-1111-7000-8000-000000000001"


def compared(status: int = 200, headers: dict[str, str] | None = None, **changes: Any) -> set[str]:
    body = {"status": "ok", "timestamp": 5, "progress": 1, "metadata": {"a": 2}, "job_id": JOB, **changes}
    body = {name: value for name, value in body.items() if value != "nothing"}
    told = {**ANSWER["headers"], **(headers or {})}
    return differences(ANSWER, status, told, json.dumps(body).encode(), {})


def test_the_recorded_answer_is_like_itself_with_other_ids_and_times() -> None:
    assert compared() == set()


def test_every_way_to_be_otherwise_is_seen() -> None:
    assert compared(201) == {"status 201, not 200"}
    assert compared(404) == {"status 404, not 200", "members job_id, metadata, progress, status, timestamp"}
    assert compared(headers={PROTOCOL: "2"}) == {"x-rxon-version is 2"}
    assert compared(headers={"content-type": "text/plain"}) == {"text/plain, not application/json"}
    assert compared(timestamp=5.5) == {"timestamp is number, not integer"}
    assert compared(timestamp="5") == {"timestamp is text, not integer"}
    assert compared(progress="nothing") == {"no progress"}
    assert compared(more=1) == {"also more"}
    assert compared(metadata={"b": 1}) == {"no metadata.a", "also metadata.b"}
    assert compared(job_id=None) == {"job_id is nothing, not text"}


def test_a_word_of_the_protocol_is_compared_and_data_is_not() -> None:
    words = {"status": 200, "body": {"transition": "success_transition", "params": {"a": 1}}}
    live = json.dumps({"transition": "failure_handled", "params": {"b": "x"}}).encode()
    assert differences(words, 200, {}, live, {}) == {
        "transition is 'failure_handled', not 'success_transition'"
    }


def test_every_recording_is_replayed() -> None:
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py") if path.name != "test_recordings.py")
    files = {path.stem for path in RECORDED.glob("*.json")}
    assert files == {name for name in files if f'"{name}"' in tests}
    assert len(files) == 11


def test_every_deviation_is_of_a_recorded_exchange_and_has_a_reason() -> None:
    for (file, name), entries in DEVIATIONS.items():
        assert name in {each["name"] for each in recording(file)}, (file, name)
        assert entries
        assert all(reason in vars(deviations).values() or " " in reason for reason in entries.values())


def test_no_recording_holds_an_id_a_time_or_an_address_of_somebody() -> None:
    for path in RECORDED.glob("*.json"):
        text = path.read_text()
        for sign in ("17952", "127.0.0.1:", "2026-", "User-Agent"):
            assert sign not in text, (path.name, sign)
