"""A real projector process on a real nats-server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.broker.connection import Connection
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.journal import JetStreamJournal
from shared.readmodels.errors import ReadModelUnavailable
from shared.readmodels.reading import ReadModel
from shared.readmodels.sqlite import SqliteDatabase
from tests.support.nats import NatsServer


@dataclass
class World:
    """What a test needs: the journal to append to, the rows to look at, and the process to hurt."""

    connection: Connection
    journal: JetStreamJournal
    database: SqliteDatabase
    reads: ReadModel
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the projector; the tests wait for its rows, not for it."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.projector", env=self.environment
        )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ask it to stop; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 30)

    async def ask(self, command: object) -> list[dict[str, Any]]:
        """All answers to a command, the last one is done."""
        answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox = self.connection.inbox()
        sid = await self.connection.listen(
            inbox, lambda subject, reply, header, payload: answers.put_nowait(orjson.loads(payload))
        )
        await self.connection.publish("projector.command", orjson.dumps(command), reply=inbox)
        told = [await asyncio.wait_for(answers.get(), 30)]
        while not told[-1]["done"]:
            told.append(await asyncio.wait_for(answers.get(), 30))
        await self.connection.unlisten(sid)
        return told

    async def caught_up(self) -> int:
        """Wait until the rows hold everything; the position."""
        last = await self.journal.last_sequence()
        await self.reached(last)
        return last

    async def reached(self, sequence: int) -> None:
        """Wait until the rows hold everything up to `sequence`, also while there is no store yet."""
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await self.reads.wait_for(sequence, 30)
                    return
                except ReadModelUnavailable:
                    await asyncio.sleep(0.02)


@pytest.fixture
async def world(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[World]:
    data = tmp_path / "data"
    data.mkdir()
    connection = await nats_server.connect("projector test")
    journal = await JetStreamJournal.open(connection, EVENTS, AGGREGATES, sync_always=False, timeout=60)
    database = SqliteDatabase(data / "readmodel")
    reads = ReadModel(database)
    environment = {
        **os.environ,
        "DAYBOOK_DATA": str(data),
        "DAYBOOK_NATS_URL": nats_server.url,
        "DAYBOOK_NATS_PASSWORD": nats_server.password,
        "PYTHONWARNINGS": "default",
    }
    world = World(connection, journal, database, reads, environment)
    yield world
    if world.process is not None and world.process.returncode is None:
        await world.kill()
    reads.close()
    await journal.publisher.stop()
