"""Handlers in processes of their own: what they choose, how they fail, and that they can be stopped."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from shared.blueprints.host import Code, HandlerFailed, HandlerHost
from shared.domain.graph import validate
from shared.domain.job import AwaitApproval, Dispatch, GoTo, Parallel, RunWorkflow, TaskSpec

CODE = """
import os, time
from dataclasses import dataclass
from daybook import Blueprint
from daybook.errors import InvalidInput

print("a file may print")
bp = Blueprint("order")

@dataclass(slots=True)
class Count:
    value: float

@bp.state(start=True)
def check(input, actions, context):
    print("so may a handler")
    match input["how"]:
        case "dispatch":
            actions.dispatch_task("stock", {"n": 1}, {"success": "finished"}, run_timeout=5, urgency=9)
        case "parallel":
            tasks = [("a", 1), {"skill": "b", "name": "second"}]
            actions.dispatch_parallel(tasks, "finished", failures="fail")
        case "approval":
            actions.await_human_approval({"yes": "finished"}, name="legal", message="?", timeout=3)
        case "child":
            actions.run_blueprint("other", {"n": 1}, "finished", version=2)
        case "pid":
            actions.go_to("finished", os.getpid())
        case "loop":
            while True:
                pass
        case "die":
            os._exit(9)
        case "raise":
            raise ValueError("no such luck")
        case "refuse":
            raise InvalidInput("not this", code="nope")
        case "exit":
            raise SystemExit("bye")
        case "odd":
            actions.go_to("finished", object())
        case "nan":
            context.state_history["mean"] = {"of": [1.5, (2, float("nan"))]}
            actions.go_to("finished")
        case "infinite":
            actions.dispatch_task("stock", {"n": Count(float("inf"))}, {"success": "finished"})
        case "nothing":
            pass

@bp.state(end=True)
def finished(last, context, results, job_id):
    return [last, context, results, job_id]
"""

VIEW: dict[str, Any] = {"job_id": "j", "input": {}, "context": {}, "results": {}, "last": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "order.py").write_text(CODE)
    (tmp_path / "_private.py").write_text("raise RuntimeError")
    return tmp_path


@pytest.fixture
async def host(folder: Path) -> AsyncIterator[HandlerHost]:
    host = HandlerHost(folder, time_limit_seconds=5.0)
    yield host
    await host.stop()


def asked(how: str) -> dict[str, Any]:
    return {**VIEW, "input": {"how": how}}


@pytest.mark.parametrize(
    ("how", "action"),
    [
        (
            "dispatch",
            Dispatch(
                TaskSpec("stock", {"n": 1}, run_timeout=5, urgency=9, remember=True), {"success": "finished"}
            ),
        ),
        ("parallel", Parallel((TaskSpec("a", 1), TaskSpec("b", name="second")), "finished", "fail")),
        ("approval", AwaitApproval("legal", {"yes": "finished"}, "?", 3)),
        ("child", RunWorkflow("other", {"success": "finished"}, {"n": 1}, 2)),
    ],
)
async def test_a_handlers_choice_is_an_action_of_the_domain(
    host: HandlerHost, how: str, action: object
) -> None:
    assert await host.run("order", "check", asked(how)) == action


async def test_a_handler_sees_the_job(host: HandlerHost) -> None:
    view = {**VIEW, "last": 1, "context": {"c": 2}, "results": {"check": 3}}
    assert await host.run("order", "finished", view) == GoTo("finished:end", [1, {"c": 2}, {"check": 3}, "j"])


@pytest.mark.parametrize(
    ("how", "kind", "code", "text"),
    [
        ("raise", "transient", "ValueError", "blueprint 'order', state 'check': ValueError: no such luck"),
        ("refuse", "invalid_input", "nope", "blueprint 'order', state 'check': not this"),
        ("exit", "transient", "SystemExit", "blueprint 'order', state 'check': SystemExit: bye"),
        ("odd", "contract_violation", "not_json", "blueprint 'order', state 'check': the action is not JSON"),
        (
            "nan",
            "contract_violation",
            "not_json",
            r"'check': .* not JSON: context\.mean\.of\[1\]\[1\] is nan",
        ),
        ("infinite", "contract_violation", "not_json", r"'check': .* not JSON: task\.input\.n\.value is inf"),
        ("nothing", "contract_violation", "blueprint", "state 'check': its handler chose no action"),
        ("die", "transient", "handler_died", "ended with status 9"),
    ],
)
async def test_a_handler_that_fails_says_where_and_the_next_one_runs(
    host: HandlerHost, how: str, kind: str, code: str, text: str
) -> None:
    with pytest.raises(HandlerFailed, match=text) as caught:
        await host.run("order", "check", asked(how))
    assert (caught.value.error.kind, caught.value.error.code) == (kind, code)
    assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)


async def test_a_handler_that_never_ends_is_killed_at_its_time_limit(folder: Path) -> None:
    host = HandlerHost(folder, time_limit_seconds=0.3)
    try:
        action = await host.run("order", "check", asked("pid"))
        assert isinstance(action, GoTo)
        with pytest.raises(HandlerFailed, match=r"no answer within 0\.3 s") as caught:
            await host.run("order", "check", asked("loop"))
        assert caught.value.error.kind == "timeout"
        assert not psutil.pid_exists(action.payload)
        assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)
    finally:
        await host.stop()


async def test_a_process_is_kept_for_the_next_handler_and_ends_with_the_host(folder: Path) -> None:
    host = HandlerHost(folder, time_limit_seconds=5.0)
    first = await host.run("order", "check", asked("pid"))
    second = await host.run("order", "check", asked("pid"))
    assert isinstance(first, GoTo)
    assert first == second
    await host.stop()
    assert not psutil.pid_exists(first.payload)


WAITING = """
import asyncio, os, time
from daybook import Blueprint
bp = Blueprint("waiting")
told = asyncio.Event()
runs = []

@bp.handler(is_start=True, is_end=True)
async def only(initial_data):
    runs.append(initial_data["how"])
    match initial_data["how"]:
        case "wait":
            await told.wait()
        case "tell":
            told.set()
        case "linger":
            await asyncio.sleep(60)
        case "linger on":
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    runs.append("cancelled")
        case "block":
            time.sleep(60)
        case "die":
            os._exit(9)
    return [initial_data["how"], os.getpid(), runs]

plain = Blueprint("plain")

@plain.handler(is_start=True, is_end=True)
def slowly(initial_data):
    time.sleep(initial_data["seconds"])
    return os.getpid()
"""


@pytest.fixture
def waiting(folder: Path) -> Path:
    (folder / "waiting.py").write_text(WAITING)
    return folder


def how(word: str) -> dict[str, Any]:
    return {**VIEW, "input": {"how": word}}


async def outcome(host: HandlerHost, word: str) -> Any:
    """What the handler gave, or its failure's code."""
    try:
        action = await host.run("waiting", "only", how(word))
    except HandlerFailed as failed:
        return failed.error.code
    assert isinstance(action, GoTo)
    return action.payload


async def test_a_handler_that_waits_holds_up_no_other(waiting: Path) -> None:
    host = HandlerHost(waiting, time_limit_seconds=20.0)
    try:
        first = asyncio.create_task(outcome(host, "wait"))
        while not (await outcome(host, "look"))[2].count("wait"):
            pass
        assert not first.done()
        await outcome(host, "tell")
        assert (await first)[0] == "wait"
    finally:
        await host.stop()


async def test_only_so_many_are_under_way(waiting: Path) -> None:
    host = HandlerHost(waiting, time_limit_seconds=20.0, at_once=2)
    try:
        two = [asyncio.create_task(outcome(host, "wait")) for _ in range(2)]
        third = asyncio.create_task(outcome(host, "tell"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(third), 1.0)
        two[0].cancel()
        assert (await third)[0] == "tell"
        assert (await two[1])[0] == "wait"
    finally:
        await host.stop()


async def test_a_coroutine_that_is_too_late_is_cancelled_and_its_process_lives(waiting: Path) -> None:
    host = HandlerHost(waiting, time_limit_seconds=0.3)
    try:
        pid = (await outcome(host, "look"))[1]
        assert await outcome(host, "linger") == "handler_timeout"
        assert (await outcome(host, "look"))[1] == pid
    finally:
        await host.stop()


@pytest.mark.parametrize(
    ("word", "code"),
    [("linger on", "handler_timeout"), ("block", "handler_timeout"), ("die", "handler_died")],
)
async def test_what_ends_its_process_fails_alone(waiting: Path, word: str, code: str) -> None:
    """The others that were in it are run again, and are not blamed."""
    host = HandlerHost(waiting, time_limit_seconds=2.0)
    try:
        pid = (await outcome(host, "look"))[1]
        if word == "die":
            innocent = asyncio.create_task(outcome(host, "wait"))
            while "wait" not in (await outcome(host, "look"))[2]:
                pass
        guilty = asyncio.create_task(outcome(host, word))
        while word == "linger on" and "cancelled" not in (await outcome(host, "look"))[2]:
            pass
        if word != "die":
            await asyncio.sleep(0)
            innocent = asyncio.create_task(outcome(host, "wait"))
        assert await guilty == code
        assert not psutil.pid_exists(pid)
        while not innocent.done():
            await outcome(host, "tell")
        if code == "handler_died":  # it ran again by itself, where nobody tells it
            assert innocent.result() == "handler_timeout"
        else:
            assert innocent.result()[0] == "wait"
    finally:
        await host.stop()


async def test_time_is_counted_from_when_a_function_begins(waiting: Path) -> None:
    host = HandlerHost(waiting, time_limit_seconds=1.0)
    try:
        view = {**VIEW, "input": {"seconds": 0.4}}
        actions = await asyncio.gather(*(host.run("plain", "slowly", view) for _ in range(5)))
        assert len({action.payload for action in actions if isinstance(action, GoTo)}) == 1
    finally:
        await host.stop()


async def test_a_reload_lets_runs_under_way_end_as_they_began(waiting: Path) -> None:
    host = HandlerHost(waiting, time_limit_seconds=20.0)
    try:
        pid = (await outcome(host, "look"))[1]
        slow = asyncio.create_task(host.run("plain", "slowly", {**VIEW, "input": {"seconds": 1.0}}))
        await asyncio.sleep(0)
        await host.reload()
        assert (await outcome(host, "look"))[1] != pid
        action = await slow
        assert isinstance(action, GoTo)
        assert action.payload == pid
        async with asyncio.timeout(10):
            while psutil.pid_exists(pid):
                await asyncio.sleep(0.02)
    finally:
        await host.stop()


async def test_many_handlers_wait_their_turn(host: HandlerHost) -> None:
    actions = await asyncio.gather(*(host.run("order", "check", asked("pid")) for _ in range(20)))
    assert len({action.payload for action in actions if isinstance(action, GoTo)}) == 1


async def test_the_sources_of_a_folder_are_graphs_that_can_be_published(
    host: HandlerHost, folder: Path
) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name")
    (folder / "twin.py").write_text(CODE)
    (folder / "wrong.py").write_text("from daybook import Blueprint\nbp = Blueprint('wrong')")
    sources, problems = await host.sources()
    assert [(source.name, source.file) for source in sources] == [("order", "order.py")]
    assert validate(sources[0].graph) == []
    assert sources[0].sha256 == sha256(CODE.encode()).hexdigest()
    assert len(problems) == 3
    assert "broken.py" in problems[0]
    assert "it is in two files, order.py and twin.py" in problems[1]
    assert "exactly one state is the start, not 0" in problems[2]


async def test_new_code_is_another_definition_and_runs_after_a_reload(
    host: HandlerHost, folder: Path
) -> None:
    (before,), _ = await host.sources()
    assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)
    (folder / "order.py").write_text(CODE.replace('"stock"', '"store"'))
    (after,), _ = await host.sources()
    assert before.sha256 != after.sha256
    await host.reload()
    action = await host.run("order", "check", asked("dispatch"))
    assert isinstance(action, Dispatch)
    assert action.task.skill == "store"


async def test_an_unknown_blueprint_or_state_is_named(host: HandlerHost) -> None:
    with pytest.raises(HandlerFailed, match="blueprint 'nobody': there is no such blueprint"):
        await host.run("nobody", "check", VIEW)
    with pytest.raises(HandlerFailed, match="blueprint 'order', state 'nowhere': there is no such state"):
        await host.run("order", "nowhere", VIEW)


@pytest.mark.parametrize(
    ("file", "changed", "why"),
    [
        ("five.py", "Blueprint(5)", "'five.py': the name of a blueprint is a text, not 5"),
        ("odd.py", r'Blueprint("odd\udc80")', "cannot be published"),
        (
            "schema.py",
            'Blueprint("schema", input_schema={"enum": {1, 2}})',
            "'schema': its input_schema cannot be used",
        ),
        ("many.py", 'Blueprint("many", max_transitions=object())', "'many': it cannot be published"),
        (
            "event.py",
            'Blueprint("event"); bp.event("e", {"default": {1}})',
            "its schema of the event 'e' cannot be used",
        ),
    ],
)
async def test_a_blueprint_that_cannot_be_published_keeps_no_other_from_it(
    host: HandlerHost, folder: Path, file: str, changed: str, why: str
) -> None:
    (folder / file).write_text(CODE.replace('Blueprint("order")', changed))
    sources, problems = await host.sources()
    assert [source.name for source in sources] == ["order"]
    (problem,) = problems
    assert why in problem


async def test_an_older_text_runs_beside_the_newest_also_when_its_file_is_gone(
    host: HandlerHost, folder: Path
) -> None:
    old = Code(sha256(CODE.encode()).hexdigest(), "order.py", CODE)
    text = CODE.replace('"stock"', '"store"')
    new = Code(sha256(text.encode()).hexdigest(), "order.py", text)
    (folder / "order.py").unlink()
    skills = []
    for code in (old, new, old):
        action = await host.run("order", "check", asked("dispatch"), code)
        assert isinstance(action, Dispatch)
        skills.append(action.task.skill)
    assert skills == ["stock", "store", "stock"]


async def test_a_text_runs_without_any_folder() -> None:
    host = HandlerHost(None, time_limit_seconds=5.0)
    try:
        code = Code(sha256(CODE.encode()).hexdigest(), "order.py", CODE)
        assert isinstance(await host.run("order", "check", asked("dispatch"), code), Dispatch)
    finally:
        await host.stop()


@pytest.mark.parametrize(
    ("text", "why"),
    [("import nothing_of_that_name", "cannot be loaded"), ("", "the text has no such blueprint")],
)
async def test_a_text_without_the_blueprint_says_so(host: HandlerHost, text: str, why: str) -> None:
    with pytest.raises(HandlerFailed, match=why) as caught:
        await host.run("order", "check", VIEW, Code("0" * 64, "order.py", text))
    assert caught.value.error.kind == "permanent"


async def test_coroutines_share_one_event_loop_over_many_runs(host: HandlerHost, folder: Path) -> None:
    (folder / "looping.py").write_text(
        """
import asyncio
from daybook import Blueprint
bp = Blueprint("looping")

@bp.handler(is_start=True, is_end=True)
async def only():
    return id(asyncio.get_running_loop())
"""
    )
    payloads = set()
    for _ in range(3):
        action = await host.run("looping", "only", VIEW)
        assert isinstance(action, GoTo)
        payloads.add(action.payload)
    assert len(payloads) == 1
