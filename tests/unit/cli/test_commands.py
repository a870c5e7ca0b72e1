"""The commands against an API that says what the test wants: what they ask, print, and exit with."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from daybook.cli import checks
from daybook.cli.main import main
from shared.application.clock import utc_now
from shared.settings import known_variables
from tests.unit.cli.stub import Stub

JOB = "0198f2c4-0000-7000-8000-000000000001"
NEVER = "http://127.0.0.1:1"


class Said(NamedTuple):
    status: int
    out: str
    err: str


Daybook = Callable[..., Said]


@pytest.fixture(autouse=True)
def _clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in {*known_variables(), "DAYBOOK_URL"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    stub.start()
    yield stub
    stub.stop()


@pytest.fixture
def daybook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stub: Stub) -> Daybook:
    """Runs the command line on the stub."""

    def run(*arguments: str, url: str | None = None) -> Said:
        monkeypatch.setenv("DAYBOOK_URL", url or stub.url)
        monkeypatch.setattr(sys, "argv", ["daybook", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return run


def job(status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    plain = {
        "job_id": JOB,
        "status": status,
        "workflow": None,
        "skill": "greet",
        "sequence": 4,
        "error": None,
    }
    times = {"created_at": "2026-01-02T03:04:05.000000Z", "ended_at": "2026-01-02T03:04:06.500000Z"}
    return {**plain, **times, "input": {"name": "Ada"}, "output": {"text": "hi"}, **fields}


def event(version: int, kind: str, **data: Any) -> dict[str, Any]:
    at = f"2026-01-02T03:04:05.00000{version}Z"
    return {"version": version, "type": kind, "at": at, "by": "x", "data": data, "sequence": version}


def stream(*events: dict[str, Any]) -> str:
    return "".join(
        f"id: {item['version']}\nevent: {item['type']}\ndata: {json.dumps(item)}\n\n" for item in events
    )


def test_submit_sends_what_it_was_told_and_prints_the_id(daybook: Daybook, stub: Stub) -> None:
    stub.answers["POST", "/v1/jobs"] = (202, {"job_id": JOB, "sequence": 1, "status": "queued"})
    said = daybook(
        "submit", "greet", '{"name": "Ada"}', "--skill", "--urgency", "900", "--tag", "a=b=c", "--key", "k1"
    )
    assert said == (0, f"{JOB}\n", "")
    (asked,) = stub.asked
    assert asked.body == {"skill": "greet", "input": {"name": "Ada"}, "urgency": 900, "tags": {"a": "b=c"}}
    assert asked.headers["Idempotency-Key"] == "k1"
    assert asked.headers["Authorization"] == "Bearer dev-client-token"


def test_the_token_of_the_dev_profile_goes_nowhere_but_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from daybook.cli.target import api_token

    assert api_token(None, "http://localhost:8000") == "dev-client-token"
    assert api_token(None, "https://jobs.example.com") == ""
    monkeypatch.setenv("DAYBOOK_CLIENT_TOKEN", "mine")
    assert api_token(None, "http://localhost:8000") == "mine"
    assert api_token("flag", "https://jobs.example.com") == "flag"


def test_input_comes_from_a_file_too(daybook: Daybook, stub: Stub, tmp_path: Path) -> None:
    stub.answers["POST", "/v1/jobs"] = (202, {"job_id": JOB, "sequence": 1, "status": "queued"})
    (tmp_path / "in.json").write_text('{"a": 1}')
    assert daybook("submit", "flow", "@in.json").status == 0
    assert stub.asked[0].body == {"workflow": "flow", "input": {"a": 1}}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("submit", "flow", "[1]"), "must be a JSON object"),
        (("submit", "flow", "{nope"), "is not JSON"),
        (("submit", "flow", "@missing.json"), "cannot read missing.json"),
        (("submit", "flow", "--tag", "novalue"), "a tag is NAME=VALUE"),
        (("submit", "flow", "--urgency", "1001"), "--urgency"),
        (("get", "not-an-id"), "JOB"),
        (("nonsense",), "nonsense"),
        (("worker", "run", "nomodule:worker"), "no module nomodule"),
        (("worker", "run", "json"), "must be MODULE:WORKER"),
        (("worker", "run", "json:dumps"), "not a Worker"),
        (("worker", "run", "json:nothing"), "has no nothing"),
        (("projections", "status"), "no system runs on .daybook"),
        (("up", "--http", "nowhere"), "HOST:PORT"),
        (("up", "--profile", "test"), "test"),
    ],
)
def test_wrong_usage_is_status_2_and_asks_nobody(
    daybook: Daybook, stub: Stub, arguments: tuple[str, ...], told: str
) -> None:
    said = daybook(*arguments)
    assert said.status == 2
    assert told in said.err
    assert stub.asked == []


@pytest.mark.parametrize(("status", "code"), [("succeeded", 0), ("failed", 1)])
def test_submit_and_wait_has_the_status_of_the_job(
    daybook: Daybook, stub: Stub, status: str, code: int
) -> None:
    stub.answers["POST", "/v1/jobs"] = (200, job(status))
    said = daybook("submit", "greet", "-s", "--wait", "5")
    assert said.status == code
    assert status in said.out


@pytest.mark.parametrize(("last", "code"), [("JobSucceeded", 0), ("JobTimedOut", 1)])
def test_watch_prints_each_event_and_has_the_status_of_the_job(
    daybook: Daybook, stub: Stub, last: str, code: int
) -> None:
    stub.answers["GET", f"/v1/jobs/{JOB}/events"] = (
        200,
        stream(event(1, "JobAccepted", skill="greet"), event(2, last)),
    )
    said = daybook("watch", JOB)
    assert said.status == code
    assert [line.split()[1] for line in said.out.splitlines()] == ["JobAccepted", last]
    lines = daybook("watch", JOB, "--json").out.splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["JobAccepted", last]


def test_get_shows_the_job_and_as_json_all_of_it(daybook: Daybook, stub: Stub) -> None:
    stub.answers["GET", f"/v1/jobs/{JOB}"] = (200, job(error={"kind": "transient", "message": "\x1b[2Jboo"}))
    said = daybook("get", JOB)
    assert said.status == 0
    assert "transient: [2Jboo" in said.out
    assert "1.5 s" in said.out
    assert "\x1b" not in said.out
    assert json.loads(daybook("get", JOB, "--json").out) == stub.answers["GET", f"/v1/jobs/{JOB}"][1]


def test_list_stops_at_its_limit_and_passes_the_filters_on(daybook: Daybook, stub: Stub) -> None:
    stub.answers["GET", "/v1/jobs"] = (200, {"items": [job("running"), job("failed")], "next": "more"})
    said = daybook("list", "--status", "failed", "--status", "running", "--tag", "a=b", "-n", "2")
    assert said.status == 0
    assert len(said.out.splitlines()) == 3
    assert len(stub.asked) == 1
    assert "status=failed" in stub.asked[0].path
    assert len(json.loads(daybook("list", "-n", "1", "--json").out)) == 1


def test_history_is_a_table_of_events(daybook: Daybook, stub: Stub) -> None:
    events = [
        event(1, "JobAccepted", skill="greet"),
        event(2, "TaskFailed", error={"kind": "k", "message": "m"}),
    ]
    stub.answers["GET", f"/v1/jobs/{JOB}/history"] = (200, events)
    rows = daybook("history", JOB).out.splitlines()
    assert "JobAccepted" in rows[1]
    assert "k: m" in rows[2]
    assert [item["version"] for item in json.loads(daybook("history", JOB, "--json").out)] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("cancel", JOB, "--reason", "why"), "cancel", {"reason": "why"}),
        (("approve", JOB, "rejected", "--name", "w"), "approve", {"decision": "rejected", "name": "w"}),
        (("signal", JOB, "paid", '{"a": 1}'), "signals/paid", {"payload": {"a": 1}}),
        (("pause", JOB), "pause", None),
        (("resume", JOB), "resume", None),
    ],
)
def test_a_command_asks_for_its_change(
    daybook: Daybook, stub: Stub, arguments: tuple[str, ...], path: str, body: Any
) -> None:
    answer = {"job_id": JOB, "sequence": 9, "status": "paused", "changed": False}
    for place in (path, path.partition("/")[0]):
        stub.answers["POST", f"/v1/jobs/{JOB}/{place}"] = (200, answer)
    said = daybook(*arguments)
    assert said == (0, "paused (as before)\n", "")
    sent = stub.asked[0].body
    assert (sent or None) == body or {**(sent or {}), **(body or {})} == sent
    assert json.loads(daybook(*arguments, "--json").out) == answer


def test_retry_prints_the_new_job(daybook: Daybook, stub: Stub) -> None:
    stub.answers["POST", f"/v1/jobs/{JOB}/retry"] = (202, {"job_id": JOB, "sequence": 1, "status": "queued"})
    assert daybook("retry", JOB).out == f"{JOB}\n"


def test_workers_that_live_come_first(daybook: Daybook, stub: Stub) -> None:
    def worker(name: str, status: str) -> dict[str, Any]:
        return {"worker_id": JOB, "name": name, "status": status, "skills": ["s"], "concurrency": 1}

    items = [worker("a", "lost"), worker("c", "online"), worker("b", "online")]
    stub.answers["GET", "/v1/workers"] = (200, {"items": items, "next": None})
    rows = daybook("workers").out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["b", "c", "a"]


def test_workflows_are_published_from_a_file(daybook: Daybook, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text('{"nodes": {}, "edges": []}')
    stub.answers["PUT", "/v1/workflows/report"] = (201, {"name": "report", "version": 3, "definition": "ab"})
    assert daybook("workflows", "publish", "report", "g.json").out == "report version 3\n"
    assert stub.asked[0].body == {"graph": {"nodes": {}, "edges": []}}


def test_a_problem_is_told_with_its_places_and_is_status_1(daybook: Daybook, stub: Stub) -> None:
    problem = {"title": "Wrong", "detail": "look", "code": "invalid", "errors": [{"field": "input.\x1b[1m"}]}
    stub.answers["POST", "/v1/jobs"] = (422, problem)
    said = daybook("submit", "flow")
    assert (said.status, said.out) == (1, "")
    assert "daybook: 422 Wrong: look" in said.err
    assert '{"field": "input.' in said.err
    assert "\x1b" not in said.err


def test_a_wrong_token_is_told_with_what_to_do(daybook: Daybook, stub: Stub) -> None:
    stub.answers["GET", "/v1/workers"] = (401, {"title": "Who are you?"})
    said = daybook("workers")
    assert said.status == 1
    assert "DAYBOOK_CLIENT_TOKEN" in said.err


def test_no_server_is_told_with_what_to_do(daybook: Daybook) -> None:
    said = daybook("workers", url=NEVER)
    assert said.status == 1
    assert "no answer from" in said.err
    assert "daybook up" in said.err


def test_doctor_says_what_fails_and_what_to_do(daybook: Daybook) -> None:
    said = daybook("doctor", "--url", NEVER)
    assert said.status == 1
    assert "FAILS api" in said.out
    assert "daybook up" in said.out
    found = {
        item["name"]: item["level"] for item in json.loads(daybook("doctor", "--url", NEVER, "--json").out)
    }
    assert found["python"] == found["nats-server"] == found["clock"] == "well"
    assert found["api"] == "ill"
    assert found["broker"] == "look"


def test_doctor_finds_a_misspelt_variable(daybook: Daybook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_HTPP", "x")
    said = daybook("doctor")
    assert "DAYBOOK_HTPP means nothing" in said.out
    assert "did you mean DAYBOOK_HTTP?" in said.out


def test_doctor_shows_what_is_not_ready(daybook: Daybook, stub: Stub) -> None:
    stub.answers["GET", "/v1/health/live"] = (200, {"status": "ok"})
    checks = {"broker": {"ok": False, "detail": "lost"}, "projector": {"ok": True, "detail": "fine"}}
    stub.answers["GET", "/v1/health/ready"] = (503, {"title": "x", "checks": checks})
    said = daybook("doctor", "--url", stub.url)
    assert said.status == 1
    assert "broker: lost" in said.out
    assert "projector: fine" not in said.out


@pytest.mark.parametrize(("sent", "came", "skew"), [(-30, 30, 0), (60, 61, 60), (-61, -60, -60), (0.5, 1, 0)])
def test_doctor_tells_a_clock_that_differs_from_an_answer_that_is_slow(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, sent: float, came: float, skew: int
) -> None:
    stub.answers["GET", "/v1/health/live"] = stub.answers["GET", "/v1/health/ready"] = (200, {})
    shifts = iter([sent, came])
    monkeypatch.setattr(checks, "utc_now", lambda: utc_now() + timedelta(seconds=next(shifts)))
    found = {finding.name: finding.found for finding in checks.front_door(stub.url, expected=True)}
    said = found.get("clocks", "this one is 0 s from the API's")
    assert int(said.split()[3]) == pytest.approx(skew, abs=1)  # the answer's date has no fraction


def test_a_command_finds_the_system_that_runs_here(
    daybook: Daybook, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from daybook.cli.target import api_url

    monkeypatch.delenv("DAYBOOK_URL", raising=False)
    assert api_url(None, None) == "http://127.0.0.1:8000"
    run = tmp_path / ".daybook" / "run"
    run.mkdir(parents=True)
    (run / "endpoints.json").write_text('{"http": "http://127.0.0.1:9", "nats": "nats://127.0.0.1:8"}')
    assert api_url(None, None) == "http://127.0.0.1:9"
    assert api_url(None, Path("elsewhere")) == "http://127.0.0.1:8000"
    assert api_url("http://flag", None) == "http://flag"
    (run / "endpoints.json").write_text("cut sho")
    assert api_url(None, None) == "http://127.0.0.1:8000"


@pytest.mark.parametrize("arguments", [("--version",), ("version",), ("--help",), ("up", "--help")])
def test_help_and_version_are_status_0(daybook: Daybook, arguments: tuple[str, ...]) -> None:
    said = daybook(*arguments)
    assert said.status == 0
    assert said.out


def test_every_command_teaches_by_example(daybook: Daybook) -> None:
    for command in (
        "up", "doctor", "submit", "get", "list", "history", "watch", "cancel", "approve", "signal", "pause",
        "resume", "retry", "workers", "worker run", "workflows publish", "workflows list", "workflows get",
        "projections status", "projections rebuild",
    ):  # fmt: skip
        assert f"daybook {command}" in daybook(*command.split(), "--help").out.replace("Usage: daybook", "")
