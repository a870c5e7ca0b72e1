"""Replay: filling the journal, following it live, and rebuilding the projection from its first commit."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from benchmarks.errors import SystemFailed
from benchmarks.history import COMMITS_PER_JOB, EVENTS_PER_JOB, finish, one_step
from benchmarks.metering import peak_rss, usage
from benchmarks.results import Finding
from benchmarks.system import System
from shared.application.clock import utc_now
from shared.application.ids import new_id
from shared.broker.connection import Connection, connect, disconnect
from shared.domain.topics import AGGREGATES
from shared.domain.topics import EVENTS as TOPICS
from shared.journal.journal import JetStreamJournal

NAME = "replay"
EVENTS = 1_000_000
AT_ONCE = 512
SILENCE_SECONDS = 120.0
DURABILITY: Final = "default"
"""How the broker syncs while the journal is filled: replay only reads."""


def measure(parent: Path | None, events: int, tell: Callable[[str], None]) -> list[Finding]:
    """Fill a journal with jobs of one step, then rebuild. Raises SystemFailed when the two differ."""
    with System(DURABILITY, parent) as system:
        meter = system.meter()
        tell(f"{NAME}: appending {events:,} events")
        start = monotonic()
        last = asyncio.run(_fill(system, events // EVENTS_PER_JOB))
        filled = monotonic() - start
        system.settle(last)
        followed = monotonic() - start
        tell(f"{NAME}: rebuilding")
        before = meter.sample()
        answer = asyncio.run(_rebuild(system))
        used = usage(before, meter.sample())
        if not answer["equal"]:
            raise SystemFailed(f"the rebuilt projection differs: {answer['difference']}")
        projector = next(pid for pid, role in meter.roles().items() if role == "projector")
        commits = events // EVENTS_PER_JOB * COMMITS_PER_JOB
        found = [
            ("events", events, ""),
            ("commits", commits, ""),
            ("journal filled", filled, "s"),
            ("followed live to the end", followed, "s"),
            ("rebuilt, compared and swapped", answer["seconds"], "s"),
            ("projector CPU of it", used.cpu["projector"], "s"),
            ("projector CPU a commit", used.cpu["projector"] / commits * 1e6, "µs"),
            ("nats-server CPU of it", used.cpu["nats-server"], "s"),
            ("projector at most in memory (RSS)", peak_rss(projector) / 1e6, "MB"),
            ("nats-server in memory (PSS)", meter.memory()["nats-server"].pss / 1e6, "MB"),
            ("journal on disk", _size(system.data / "data" / "nats") / 1e6, "MB"),
            ("read model on disk", _size(system.data / "data" / "readmodel") / 1e6, "MB"),
        ]
        return [Finding(NAME, DURABILITY, what, float(value), unit) for what, value, unit in found]


async def _fill(system: System, jobs: int) -> int:
    """Append the jobs through the journal, many at once; the sequence of the last commit."""
    connection = await _connect(system)
    try:
        journal = await JetStreamJournal.open(connection, TOPICS, AGGREGATES, timeout=30.0)
        numbers = iter(range(jobs))

        async def lane() -> None:
            for _ in numbers:
                job, accepted = one_step(new_id(), utc_now())
                stored = await journal.append(accepted)
                await journal.append(finish(job, utc_now(), stored.tip))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(lane())
        last = await journal.last_sequence()
        await journal.publisher.stop()
        return last
    finally:
        await disconnect(connection)


async def _rebuild(system: System) -> Mapping[str, Any]:
    """Ask the projector to rebuild, as `daybook projections rebuild` does; its last answer."""
    connection = await _connect(system)
    inbox = connection.inbox()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def take(_subject: bytes, _reply: bytes, _header: bytes, data: bytes) -> None:
        answers.put_nowait(msgspec.json.decode(data))

    try:
        await connection.listen(inbox, take)
        await connection.publish("projector.command", b'{"command":"rebuild"}', reply=inbox)
        while True:
            answer = await asyncio.wait_for(answers.get(), SILENCE_SECONDS)
            if answer.get("done"):
                if not answer["ok"]:
                    raise SystemFailed(f"the projector did not rebuild: {answer['error']}")
                return answer
    except TimeoutError:
        raise SystemFailed(f"the projector said nothing for {SILENCE_SECONDS:g} s") from None
    finally:
        await disconnect(connection)


async def _connect(system: System) -> Connection:
    return await connect(
        system.nats_url, name="daybook-benchmark", user="daybook", password=system.nats_password
    )


def _size(folder: Path) -> int:
    """Bytes allocated for the files below `folder`."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
