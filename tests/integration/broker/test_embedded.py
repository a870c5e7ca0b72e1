"""The server that we start ourselves."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.broker.connection import connect, disconnect
from shared.broker.embedded import EmbeddedServer
from shared.broker.errors import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.broker.streams import Durability, api, declare_stream, declare_streams, durability
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected


async def test_the_server_tells_its_durability(
    nats_server: NatsServer, synced_nats_server: NatsServer
) -> None:
    relaxed = await durability(await nats_server.connect())
    strict = await durability(await synced_nats_server.connect())
    assert (relaxed.sync_always, strict.sync_always) == (False, True)
    assert "daybook always" in strict.how


async def test_a_server_that_does_not_tell_counts_as_not_durable(nats_server: NatsServer) -> None:
    connection = await nats_server.connect_worker()  # has no right to ask
    policy = await durability(connection, timeout=0.3)
    assert isinstance(policy, Durability)
    assert not policy.sync_always


async def test_streams_are_declared_by_many_at_once_and_again(nats_server: NatsServer) -> None:
    connections = [await nats_server.connect() for _ in range(4)]
    await asyncio.gather(*(declare_streams(connection) for connection in connections))
    journal = (await api(connections[0], "STREAM.INFO.JOURNAL"))["config"]
    timers = (await api(connections[0], "STREAM.INFO.TIMERS"))["config"]
    assert journal["allow_atomic"]
    assert journal["allow_direct"]
    assert journal["deny_delete"]
    assert timers["allow_msg_schedules"]


async def test_a_stream_is_brought_up_to_our_settings_and_keeps_the_others(nats_server: NatsServer) -> None:
    connection = await nats_server.connect()
    await api(
        connection, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "file", "max_msgs": 7}
    )
    await declare_stream(connection, "S", {"subjects": ["s.>", "t.>"], "allow_direct": True})
    config = (await api(connection, "STREAM.INFO.S"))["config"]
    assert (config["subjects"], config["allow_direct"], config["max_msgs"]) == (["s.>", "t.>"], True, 7)


async def test_a_worker_may_do_no_more_than_work(nats_server: NatsServer) -> None:
    worker = await nats_server.connect_worker()
    requests = await Publisher.start(worker, timeout=0.3)
    ours = await nats_server.connect()
    stolen: list[bytes] = []
    for subject in ("journal.>", "report.*", "_DAYBOOK.>", ">", "$JS.>"):
        await worker.listen(subject, lambda *message: stolen.append(message[0]))
    for subject in ("journal.job.x.1.note", "command.x", "$JS.API.STREAM.INFO.JOURNAL", "lanes", "control.x"):
        with pytest.raises(Exception, match="no answer"):
            await requests.request(subject)
    assert (await api(ours, "STREAM.INFO.JOURNAL"))["state"]["messages"] == 0
    await ours.publish("report.x", b"secret")
    await ours.settle()
    await worker.settle()
    assert stolen == []


async def test_a_wrong_password_is_told(nats_server: NatsServer) -> None:
    with pytest.raises(BrokerUnavailable, match=r"[Aa]uthorization"):
        await connect(nats_server.url, name="intruder", user="daybook", password="guess", timeout=60)


async def test_an_absent_server_is_told_in_time() -> None:
    with pytest.raises(BrokerUnavailable):
        await connect("nats://127.0.0.1:9", name="lonely", timeout=0.5)


async def test_it_starts_again_on_the_same_port_with_the_same_streams(tmp_path: Path) -> None:
    first = EmbeddedServer(tmp_path / "nats", worker_token="t")
    first.start()
    await first.wait_ready()
    connection = await connect(first.url, name="a", user="daybook", password=first.password)
    await declare_streams(connection)
    await disconnect(connection)
    await first.stop()
    assert first.pid is None

    second = EmbeddedServer(tmp_path / "nats", worker_token="t")
    assert (second.port, second.password) == (first.port, first.password)
    second.start()
    await second.wait_ready()
    connection = await connect(second.url, name="b", user="daybook", password=second.password)
    assert (await api(connection, "STREAM.INFO.JOURNAL"))["config"]["name"] == "JOURNAL"
    await disconnect(connection)
    second.kill()


async def test_credentials_with_odd_characters_work_and_are_private(tmp_path: Path) -> None:
    token, password = 'to"k\\en $HOME # ü', "p{a}ss'\n\"w"
    server = EmbeddedServer(tmp_path / "na ts", worker_token=token, password=password)
    server.start()
    try:
        await server.wait_ready()
        for user, secret in (("daybook", password), ("worker", token)):
            await disconnect(await connect(server.url, name=user, user=user, password=secret))
        assert server.config.stat().st_mode & 0o077 == 0
    finally:
        server.kill()


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    one = EmbeddedServer(tmp_path / "one", worker_token="t")
    one.start()
    await one.wait_ready()
    two = EmbeddedServer(tmp_path / "two", worker_token="t", port=one.port)
    two.start()
    try:
        async with asyncio.timeout(30):
            while two.pid is not None:
                await asyncio.sleep(0.01)
        with pytest.raises(BrokerUnavailable, match=r"ended: .*address already in use"):
            await two.wait_ready()
    finally:
        one.kill()
        two.kill()


async def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from shared.broker.embedded import EmbeddedServer\n"
        f"server = EmbeddedServer(Path({str(tmp_path / 'nats')!r}), worker_token='t')\n"
        "server.start(); print(server.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        os.kill(parent.pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while is_running(child):
            await asyncio.sleep(0.01)


async def test_ctrl_c_in_the_terminal_is_left_to_the_parent(nats_server: NatsServer) -> None:
    assert nats_server.server.pid is not None
    assert os.getpgid(nats_server.server.pid) != os.getpgid(0)


async def test_an_outage_is_a_line_of_log_and_one_a_reason_however_often_it_is_tried(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await nats_server.connect()
    back = asyncio.Event()
    connection.on_back.append(back.set)
    nats_server.server.kill()
    async with asyncio.timeout(30):
        while "reconnecting" not in caplog.text:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        while connection.server_pool[0].reconnects < 3:
            await asyncio.sleep(0.01)
    nats_server.server.start()
    async with asyncio.timeout(30):
        await back.wait()
    assert caplog.text.count("lost; reconnecting") == len(nats_server.connections)
    assert caplog.text.count("UnexpectedEOF") <= len(nats_server.connections)
    assert caplog.text.count("not connected to the broker: ") <= 2 * len(nats_server.connections)
    assert caplog.text.count("Connect call failed") == len(nats_server.connections)


def is_running(pid: int) -> bool:
    """Whether the process lives; one that ended and was not buried yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_closing_while_the_broker_is_gone_ends_soon_and_leaves_nothing(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nats", worker_token="t")
    server.start()
    await server.wait_ready()
    connections = [
        await connect(server.url, name="x", user="daybook", password=server.password, reconnect_wait=0.001)
        for _ in range(30)
    ]
    server.kill()
    async with asyncio.timeout(30):
        while all(connection.is_connected for connection in connections):
            await asyncio.sleep(0.001)
        await asyncio.gather(*(disconnect(connection) for connection in connections))
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)


async def test_giving_up_the_first_connection_leaves_nothing() -> None:
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(
            *(
                connect("nats://127.0.0.1:9", name="x", timeout=0.01 + n / 2000, reconnect_wait=0.0001)
                for n in range(30)
            ),
            return_exceptions=True,
        )
        assert all(isinstance(outcome, BrokerUnavailable) for outcome in outcomes)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)
