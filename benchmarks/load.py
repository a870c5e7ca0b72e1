"""The load generator, a process of its own: `python -m benchmarks.load`.

It reads commands (benchmarks.commands) from standard input and answers on standard output until the input
ends. Between commands it holds no connection, so that no server closes one that is needed.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from time import perf_counter

import msgspec
import orjson
import uvloop

from benchmarks.commands import Bulk, Closed, Command, Open, Pages, Ran, Refused, Reply
from benchmarks.errors import BadAnswer
from benchmarks.http_client import Answer, Connection, Pool, address_of, request
from benchmarks.percentiles import latency

STATS_PAUSE_SECONDS = 0.02
ENDED = ("succeeded", "failed", "timed_out", "cancelled", "quarantined")


async def run(command: Command) -> Ran:
    """Raises OSError, ConnectionError or BadAnswer when the server is not there or breaks off."""
    match command:
        case Closed():
            return await closed(command)
        case Open():
            return await open_loop(command)
        case Bulk():
            return await bulk(command)
        case Pages():
            return await pages(command)


class _Tally:
    """Counts answers as they come."""

    def __init__(self, expect: str) -> None:
        self._expect = expect.encode()
        self.waits: list[float] = []
        self.failed = 0
        self.failure: str | None = None
        self.newest = b"{}"

    def count(self, answer: Answer, wait: float) -> bool:
        if answer.status == 200 and self._expect in answer.body:
            self.waits.append(wait)
            self.newest = answer.body
            return True
        self.failed += 1
        self.failure = self.failure or f"{answer.status} {answer.body[:400].decode(errors='replace')}"
        return False

    def ran(self, seconds: float, read: list[float] | None = None) -> Ran:
        newest = orjson.loads(self.newest)
        return Ran(
            done=len(self.waits),
            failed=self.failed,
            seconds=seconds,
            seen=latency(self.waits) if self.waits else None,
            read=latency(read) if read else None,
            failure=self.failure,
            last_sequence=newest.get("sequence", 0),
        )


async def closed(command: Closed) -> Ran:
    """See `Closed`."""
    to = address_of(command.url)
    connections = [await Connection.open(to) for _ in range(command.in_flight)]
    tally = _Tally(command.expect)
    data = command.request
    start = perf_counter()
    stop = start + command.seconds

    async def lane(connection: Connection) -> None:
        sent = perf_counter()
        while sent < stop:
            answer = await connection.exchange(data)
            now = perf_counter()
            if not tally.count(answer, now - sent) and tally.failed > command.in_flight:
                return  # it is broken, and the loop would only spin
            sent = now

    await _all(lane, connections)
    return tally.ran(perf_counter() - start)


async def open_loop(command: Open) -> Ran:
    """See `Open`."""
    to = address_of(command.url)
    pool = Pool(to)
    tally = _Tally(command.expect)
    shown: list[float] = []

    async def one(planned: float) -> None:
        # Counted from the planned moment: a late start is the system's delay too (coordinated omission).
        answer = await pool.exchange(command.request)
        if not tally.count(answer, perf_counter() - planned):
            return
        job = orjson.loads(answer.body)
        path = command.read.format(job_id=job["job_id"], sequence=job["sequence"])
        read = await pool.exchange(request("GET", path, to=to, token=command.token))
        if read.status == 200 and command.expect.encode() in read.body:
            shown.append(perf_counter() - planned)
        else:
            tally.failed += 1
            tally.failure = tally.failure or f"read model: {read.status} {read.body[:400]!r}"

    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(command.rate * command.seconds)):
            planned = start + number / command.rate
            await asyncio.sleep(max(0.0, planned - perf_counter()))
            group.create_task(one(planned))
    seconds = perf_counter() - start
    pool.close()
    return tally.ran(seconds, shown)


async def bulk(command: Bulk) -> Ran:
    """See `Bulk`."""
    to = address_of(command.url)
    connections = [await Connection.open(to) for _ in range(command.connections)]
    watch = await Connection.open(to)
    tally = _Tally('"items"')
    before = finished(await watch.exchange(command.stats))
    start = perf_counter()
    stop = start + command.seconds
    submitted = done = 0
    moved = asyncio.Event()
    submitting = True

    async def follow() -> None:
        nonlocal done
        while submitting or done < submitted:
            await asyncio.sleep(STATS_PAUSE_SECONDS)
            done = finished(await watch.exchange(command.stats)) - before
            moved.set()

    async def lane(connection: Connection) -> None:
        nonlocal submitted
        while perf_counter() < stop and (command.jobs is None or submitted < command.jobs):
            if submitted + command.size - done > command.window:
                moved.clear()
                await moved.wait()
                continue
            submitted += command.size
            sent = perf_counter()
            answer = await connection.exchange(command.request)
            tally.count(answer, perf_counter() - sent)
            if tally.failed or b'"error":{' in answer.body:
                raise BadAnswer(f"bulk submit: {answer.status} {answer.body[:400]!r}")

    follower = asyncio.create_task(follow())
    try:
        await _all(lane, connections)
        submitting = False
        await follower
    finally:
        follower.cancel()
    seconds = perf_counter() - start
    watch.close()
    return Ran(done=done, failed=0, seconds=seconds, seen=latency(tally.waits) if tally.waits else None)


async def pages(command: Pages) -> Ran:
    """See `Pages`. Starts again at the first page when the listing ends before."""
    to = address_of(command.url)
    connection = await Connection.open(to)
    tally = _Tally('"items"')
    start = perf_counter()
    cursor = None
    for _ in range(command.pages):
        joint = "&" if "?" in command.path else "?"
        path = f"{command.path}{joint}cursor={cursor}" if cursor else command.path
        sent = perf_counter()
        answer = await connection.exchange(request("GET", path, to=to, token=command.token))
        if not tally.count(answer, perf_counter() - sent):
            raise BadAnswer(f"{path}: {answer.status} {answer.body[:400]!r}")
        cursor = orjson.loads(answer.body).get("next")
    seconds = perf_counter() - start
    connection.close()
    return tally.ran(seconds)


def finished(answer: Answer) -> int:
    """How many jobs have ended, from the answer of /v1/stats. Raises BadAnswer when it is none."""
    if answer.status != 200:
        raise BadAnswer(f"stats: {answer.status} {answer.body[:400]!r}")
    body = orjson.loads(answer.body)
    counts = body.get("jobs", body)
    return sum(counts.get(status, 0) for status in ENDED)


async def _all(lane: Callable[[Connection], Coroutine[None, None, None]], over: list[Connection]) -> None:
    """Run one lane a connection until all end; close the connections."""
    try:
        async with asyncio.TaskGroup() as group:
            for connection in over:
                group.create_task(lane(connection))
    finally:
        for connection in over:
            connection.close()


def main() -> None:
    decoder = msgspec.json.Decoder(Command)
    for line in sys.stdin.buffer:
        reply = Reply()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                reply = Reply(ran=runner.run(run(decoder.decode(line))))
        except* (OSError, BadAnswer, msgspec.DecodeError) as group:
            reply = Reply(refused=Refused("; ".join(f"{type(e).__name__}: {e}" for e in group.exceptions)))
        sys.stdout.buffer.write(msgspec.json.encode(reply) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
