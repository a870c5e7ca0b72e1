"""Handlers of many jobs in one process: they wait side by side, and each has its time."""

import asyncio
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from shared.blueprints.host import HandlerFailed, HandlerHost
from shared.domain.job import Dispatch, GoTo
from tests.contract.blueprint.orders import VIEW, asked


async def test_a_handler_that_never_ends_is_killed_at_its_time_limit(folder: Path) -> None:
    host = HandlerHost(folder, time_limit_seconds=1.2)
    try:
        action = await host.run("order", "check", asked("pid"))
        assert isinstance(action, GoTo)
        with pytest.raises(HandlerFailed, match=r"no answer within 1\.2 s") as caught:
            await host.run("order", "check", asked("loop"))
        assert caught.value.error.kind == "timeout"
        assert not psutil.pid_exists(action.payload)
        assert isinstance(await host.run("order", "check", asked("dispatch")), Dispatch)
    finally:
        await host.stop()


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


async def outcome(host: HandlerHost, word: str) -> Any:
    """What the handler gave, or its failure's code."""
    try:
        action = await host.run("waiting", "only", asked(word))
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
    host = HandlerHost(waiting, time_limit_seconds=1.2)
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
    host = HandlerHost(waiting, time_limit_seconds=1.8)
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
        async with asyncio.timeout(60):
            while psutil.pid_exists(pid):
                await asyncio.sleep(0.02)
    finally:
        await host.stop()


async def test_many_handlers_wait_their_turn(host: HandlerHost) -> None:
    actions = await asyncio.gather(*(host.run("order", "check", asked("pid")) for _ in range(20)))
    assert len({action.payload for action in actions if isinstance(action, GoTo)}) == 1


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
