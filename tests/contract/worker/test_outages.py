"""Workers through the absence of everybody else: nothing is lost, and everything goes on by itself."""

import asyncio
import os
import signal
from typing import Any

import pytest

from daybook import Worker
from daybook.errors import ConnectionRefused, HelloRefused
from tests.contract.worker import program
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher, Report, Verdict, accept
from tests.support.proxy import Proxy

pytestmark = pytest.mark.connected


def echo(worker: Worker) -> list[Any]:
    seen: list[Any] = []

    @worker.skill("echo")
    async def run(given: Any) -> Any:
        seen.append(given)
        return given

    return seen


@pytest.mark.usefixtures("every_task_is_fresh")
async def test_a_result_is_reported_again_until_it_is_answered(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    async with serving(worker):
        dispatcher.deaf = True
        await dispatcher.release("echo", 1)
        await dispatcher.until(lambda: bool(dispatcher.of_kind("result")))
        dispatcher.deaf = False
        await dispatcher.results(1)
        await dispatcher.all_acked("echo")
    assert seen == [1]
    assert len(dispatcher.of_kind("result")) == 2
    assert dispatcher.reports[0] == dispatcher.reports[1]


async def test_results_wait_for_a_dispatcher_that_is_away(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    async with serving(worker):
        connection = dispatcher.connection
        await dispatcher.release("echo", 1)
        await dispatcher.results(1)
        other = await FakeDispatcher.open(dispatcher.server)
        await connection.close()  # from now on reports reach the other one only
        await other.release("echo", 2)
        await other.results(1)
        await other.all_acked("echo")
    assert seen == [1, 2]


async def test_the_worker_says_hello_when_it_is_asked_to(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    echo(worker)
    async with serving(worker):
        await dispatcher.control("w1", hello=True)
        await dispatcher.until(lambda: len(dispatcher.hellos) == 2)
    first, second = dispatcher.hellos
    assert first == second
    assert (first["name"], first["skills"], first["concurrency"]) == ("w1", ["echo"], 10)


async def test_a_killed_broker_costs_a_worker_nothing_but_time(dispatcher: FakeDispatcher) -> None:
    # The broker may forget the last acks: then the task comes again, is claimed, and refused.
    dispatcher.ack_wait_seconds = 1.0
    finished: set[str] = set()

    def verdict(report: Report) -> Verdict:
        if report["kind"] == "claim" and report["job"] in finished:
            return {"verdict": "refused", "reason": "finished"}
        if report["kind"] == "result":
            finished.add(report["job"])
        return accept(report)

    dispatcher.verdict_of = verdict
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    async with serving(worker):
        await dispatcher.release("echo", 1)
        await dispatcher.results(1)
        await dispatcher.all_acked("echo")
        await dispatcher.server.restart()
        await dispatcher.until(lambda: len(dispatcher.hellos) >= 2)
        await dispatcher.release("echo", 2)
        await dispatcher.results(2)
        await dispatcher.all_acked("echo")
    assert seen == [1, 2]


@pytest.mark.usefixtures("every_task_is_fresh")
async def test_a_result_of_the_time_without_a_broker_is_reported_once_it_is_back(
    dispatcher: FakeDispatcher,
) -> None:
    worker = worker_of(dispatcher.server)
    running, let_go = asyncio.Event(), asyncio.Event()

    @worker.skill("hold")
    async def hold(given: Any) -> str:
        running.set()
        await let_go.wait()
        return "done"

    async with serving(worker):
        await dispatcher.release("hold")
        await running.wait()
        dispatcher.server.server.kill()
        lost = asyncio.Event()
        dispatcher.connection.on_lost.append(lost.set)
        await asyncio.wait_for(lost.wait(), 30)
        let_go.set()
        await dispatcher.server.restart()
        await dispatcher.results(1)
        await dispatcher.all_acked("hold")
    assert [report["kind"] for report in dispatcher.reports].count("result") == 1


async def test_a_worker_whose_token_was_refused_for_a_while_is_back_when_it_is_taken_again(
    dispatcher: FakeDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    server = dispatcher.server.server
    config = server.config.read_text()
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    async with serving(worker):
        assert server.pid is not None
        server.config.write_text(config.replace(server.worker_token, "another token"))
        os.kill(server.pid, signal.SIGHUP)
        async with asyncio.timeout(30):
            while "not connected to the broker: nats: 'Authorization Violation'" not in caplog.text:
                await asyncio.sleep(0.05)
        assert len(dispatcher.hellos) == 1
        server.config.write_text(config)
        os.kill(server.pid, signal.SIGHUP)
        await dispatcher.until(lambda: len(dispatcher.hellos) >= 2)
        await dispatcher.release("echo", 1)
        await dispatcher.results(1)
        await dispatcher.all_acked("echo")
    assert seen == [1]
    assert caplog.text.count("not connected to the broker: nats: 'Authorization Violation'") == 1


async def test_a_line_that_was_cut_leads_no_task_astray(dispatcher: FakeDispatcher) -> None:
    # The server still holds the pull of the old connection when the worker is back, and fills it first.
    server = dispatcher.server.server
    async with Proxy.to(server.host, server.port) as proxy:
        worker = Worker(proxy.url, server.worker_token, "w1", 10)
        seen = echo(worker)
        async with serving(worker):
            for number in range(1, 4):
                async with asyncio.timeout(30):  # a pull that has only just come is another matter (0013)
                    while not await dispatcher.waiting("echo"):
                        await asyncio.sleep(0.02)
                await proxy.cut()
                await dispatcher.until(lambda hellos=number + 1: len(dispatcher.hellos) >= hellos)  # type: ignore[misc]  # a default of its own
                await dispatcher.release("echo", number)
                await dispatcher.results(number)
                await dispatcher.all_acked("echo")
            assert await dispatcher.deliveries("echo") == 3
    assert seen == [1, 2, 3]


async def test_a_queue_that_was_deleted_is_asked_for_again(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    async with serving(worker):
        await dispatcher.connection.jetstream().delete_consumer("JOURNAL", "skill_echo")
        await dispatcher.until(lambda: len(dispatcher.hellos) >= 2)
        await dispatcher.release("echo", 1)
        await dispatcher.results(1)
    assert seen == [1]


async def test_a_worker_waits_for_the_dispatcher_to_come(dispatcher: FakeDispatcher) -> None:
    answers = iter([None])
    worker = worker_of(dispatcher.server)
    seen = echo(worker)
    await dispatcher.connection.close()
    serve = asyncio.ensure_future(worker.serve())
    other = None
    try:
        other = await FakeDispatcher.open(dispatcher.server)
        await other.until(lambda: bool(other.hellos))
        await other.release("echo", next(answers))
        await other.results(1)
    finally:
        worker.stop()
        await serve
    assert seen == [None]


async def test_a_wrong_token_ends_the_worker_with_a_clear_error(dispatcher: FakeDispatcher) -> None:
    worker = Worker(dispatcher.server.url, "not the token", "w1")
    echo(worker)
    with pytest.raises(ConnectionRefused, match="DAYBOOK_WORKER_TOKEN"):
        await worker.serve()


async def test_a_refused_hello_ends_the_worker_with_the_reason(dispatcher: FakeDispatcher) -> None:
    dispatcher.hello_of = lambda hello: {"ok": False, "error": "the name is taken"}
    worker = worker_of(dispatcher.server)
    echo(worker)
    with pytest.raises(HelloRefused, match="the name is taken"):
        await worker.serve()


async def test_a_worker_that_stops_says_so_and_takes_nothing_more(dispatcher: FakeDispatcher) -> None:
    dispatcher.ack_wait_seconds = 60.0
    worker = worker_of(dispatcher.server)
    running, let_go = asyncio.Event(), asyncio.Event()

    @worker.skill("hold")
    async def hold(given: Any) -> str:
        running.set()
        await let_go.wait()
        return "done"

    async with serving(worker):
        await dispatcher.release("hold")
        await running.wait()
        worker.stop()
        await dispatcher.until(lambda: any(beat.get("draining") for beat in dispatcher.beats))
        await dispatcher.release("hold")
        let_go.set()
        await dispatcher.until(lambda: any(beat.get("leaving") for beat in dispatcher.beats))
        assert len(await dispatcher.results(1)) == 1
        assert await dispatcher.pending("hold") == 1
    # What was not taken is there for the next one at once, not only after the broker's ack wait (60 s).
    successor = worker_of(dispatcher.server)
    seen: list[Any] = []

    @successor.skill("hold")
    async def run(given: Any) -> None:
        seen.append(given)

    async with serving(successor):
        await dispatcher.results(2)
    assert len(seen) == 1


async def test_a_message_that_cannot_be_read_does_not_stop_the_queue(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server, concurrency=1)
    seen = echo(worker)
    async with serving(worker):
        jetstream = dispatcher.connection.jetstream()
        await jetstream.publish("journal.job.00000000000000000000000000.1.run.echo", b"not a commit")
        await dispatcher.release("echo", 1)
        await dispatcher.results(1)
    assert seen == [1]


@pytest.mark.usefixtures("every_task_is_fresh")
async def test_a_verdict_that_calls_the_report_wrong_becomes_a_failure(dispatcher: FakeDispatcher) -> None:
    dispatcher.verdict_of = lambda report: (
        {"error": "output too odd"} if report["outcome"] == "succeeded" else {"verdict": "accepted"}
    )
    worker = worker_of(dispatcher.server)
    echo(worker)
    async with serving(worker):
        await dispatcher.release("echo", 1)
        results = await dispatcher.results(4)
        await dispatcher.all_acked("echo")
    assert [result["outcome"] for result in results] == ["succeeded"] * 3 + ["failed"]
    assert results[-1]["error"]["code"] == "report_refused"
    assert "output too odd" in results[-1]["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_process_ends_with_status_0_on_a_signal(
    dispatcher: FakeDispatcher, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *program.command(),
        env={
            "DAYBOOK_NATS_URL": dispatcher.server.url,
            "DAYBOOK_WORKER_TOKEN": dispatcher.server.worker_token,
        },
    )
    try:
        await dispatcher.release_when_known("crunch", {"n": 3})
        (result,) = await dispatcher.results(1)
        process.send_signal(number)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert result["output"]["square"] == 9
    assert any(beat.get("leaving") for beat in dispatcher.beats)
