"""The scheduler's own process and its command to the dispatcher, over a real nats-server."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from shared.application.clock import now_us
from shared.application.commands import DispatcherSilent
from shared.broker import subjects
from shared.broker.asking import BrokerDispatcher, NoDispatcher
from shared.broker.publisher import Publisher
from shared.readmodels.sqlite import SqliteDatabase
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected

JOB = UUID(int=7)


async def test_a_command_that_nobody_hears_is_told_from_one_without_an_answer(
    nats_server: NatsServer,
) -> None:
    connection = await nats_server.connect()
    publisher = await Publisher.start(connection)
    dispatcher = BrokerDispatcher(publisher, seconds=30)
    with pytest.raises(NoDispatcher):
        await dispatcher.ask(JOB, {"command": "expire"})

    listener = await nats_server.connect()
    said = [b"", b"not json", b'{"ok":true,"sequence":5,"status":"timed_out","changed":true}']

    async def answer(message: object) -> None:
        body = said[0]
        if body:
            await message.respond(body)  # type: ignore[attr-defined]

    await listener.subscribe(subjects.command(JOB), cb=answer)
    await listener.settle()
    with pytest.raises(DispatcherSilent) as silent:
        await BrokerDispatcher(publisher, seconds=0.2).ask(JOB, {"command": "expire"})
    assert not isinstance(silent.value, NoDispatcher)
    said.pop(0)
    with pytest.raises(DispatcherSilent, match="makes no sense"):
        await dispatcher.ask(JOB, {"command": "expire"})
    said.pop(0)
    assert (await dispatcher.ask(JOB, {"command": "expire"})).status == "timed_out"
    await publisher.stop()


async def test_the_process_serves_before_there_are_rows_and_asks_once_there_are(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    asked: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    listener = await nats_server.connect()

    async def take(message: object) -> None:
        asked.put_nowait((message.subject, message.data))  # type: ignore[attr-defined]
        await message.respond(b'{"ok":true,"changed":true}')  # type: ignore[attr-defined]

    await listener.subscribe("command.*", cb=take)
    await listener.settle()
    environment = {
        **os.environ,
        "DAYBOOK_DATA": str(tmp_path),
        "DAYBOOK_NATS_URL": nats_server.url,
        "DAYBOOK_NATS_PASSWORD": nats_server.password,
        "DAYBOOK_SWEEP_SECONDS": "0.05",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.scheduler", env=environment
    )
    try:
        ready = tmp_path / "run" / "scheduler.ready"
        async with asyncio.timeout(60):
            while not ready.exists():
                await asyncio.sleep(0.02)
        _store_due_job(tmp_path)
        subject, body = await asyncio.wait_for(asked.get(), 30)
        assert subject == subjects.command(JOB)
        assert orjson.loads(body) == {"command": "expire", "by": "system:scheduler"}
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not ready.exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _store_due_job(data: Path) -> None:
    """A row as the projector writes it, of a job that was due a second ago."""
    database = SqliteDatabase(data / "readmodel")
    session = database.writer()
    try:
        columns = [row[1] for row in session.rows("PRAGMA table_info(jobs)")]
        known = {"id": JOB.bytes, "due_at": now_us() - 1_000_000, "doc": b"{}", "sequence": 1}
        types = {row[1]: row[2] for row in session.rows("PRAGMA table_info(jobs)")}
        row = [known.get(column, 1 if "INT" in types[column] else "x") for column in columns]
        marks = ", ".join("?" for _ in columns)
        with session.transaction():
            session.write(f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", [row])
    finally:
        session.close()
