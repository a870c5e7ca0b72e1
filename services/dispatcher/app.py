"""The composition root of the dispatcher: the only place that reads its settings and builds its adapters."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from services.dispatcher.children import Children, FlowLanes
from services.dispatcher.crew import Crew
from services.dispatcher.desk import Desk
from services.dispatcher.doors import Doors
from services.dispatcher.flow import Flow
from services.dispatcher.followup import FollowUp
from services.dispatcher.graphs import PinnedGraphs
from services.dispatcher.handlers import Handlers
from services.dispatcher.interrupts import Interrupts
from services.dispatcher.ports import Fold
from services.dispatcher.queues import Queues
from services.dispatcher.rates import MOST_RELEASES, RATED, count_rates
from services.dispatcher.recovery import recover
from services.dispatcher.register import Register
from services.dispatcher.releases import Releases
from services.dispatcher.snapshots import SnapshotKeeper
from services.dispatcher.takes import Takes
from services.dispatcher.wakeups import WakeUps, declare_wakeup_queue
from shared.application.clock import utc_now
from shared.application.definitions import Definitions
from shared.application.expressions import evaluate
from shared.application.ports import JournalError, StoredCommit
from shared.application.publish_workflow import PublishWorkflow
from shared.application.submit import Submit
from shared.broker import subjects
from shared.broker.connection import Connection, disconnect
from shared.broker.errors import BrokerError
from shared.broker.faststream import StreamBroker
from shared.broker.opening import open_connection
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams, durability
from shared.domain.job import Job
from shared.domain.topics import AGGREGATES, EVENTS
from shared.files.config import files_config
from shared.journal.codec import Codec
from shared.journal.job_states import JobStates
from shared.journal.journal import JetStreamJournal
from shared.journal.recent import releases_since
from shared.journal.snapshot_stream import JetStreamSnapshots
from shared.journal.snapshots import Kind, Snapshots
from shared.process import Process
from shared.readmodels.opening import read_model
from shared.settings import Settings

log = logging.getLogger("daybook.dispatcher")

LANES_SECONDS = 0.02
LANES_REPEAT_SECONDS = 0.5


async def main(settings: Settings, process: Process) -> None:
    """Dispatch until the process is told to stop."""
    connection = await open_connection(settings, "dispatcher")
    try:
        await declare_streams(connection)
        await declare_wakeup_queue(connection)
        policy = await durability(connection)
        policy.must_hold(settings.profile)
        publisher = await Publisher.start(connection)
        codec = Codec(EVENTS, AGGREGATES)
        snapshots = Snapshots(JetStreamSnapshots(publisher), {Job: Kind("job", JobStates())})
        keeper = SnapshotKeeper(snapshots, settings.snapshot_events)
        journal = JetStreamJournal(publisher, codec, sync_always=policy.sync_always, snapshots=snapshots)
        definitions = Definitions(journal)
        flow = Flow(recovering=True)
        releases = Releases(flow)
        follow_up = FollowUp(flow, releases, WakeUps(publisher).arm, Interrupts(publisher).stop)
        submit = Submit(journal, FlowLanes(releases.room), evaluate, utc_now)
        children = Children(journal, definitions, submit)
        files = files_config(settings)
        handlers = Handlers(
            settings.blueprints,
            settings.handler_time_limit_seconds,
            settings.handlers_at_once,
            definitions,
            None if files is None else msgspec.to_builtins(files),
        )
        graphs, fold = PinnedGraphs(definitions), _folding(codec)
        desk = Desk(journal, journal.submit, graphs, follow_up, evaluate, fold, keeper=keeper)
        releases.serve(desk)
        follow_up.serve(desk, children.start, handlers.run)
        queues = Queues(connection, settings.ack_wait_seconds)
        register = Register(journal, utc_now)
        crew = Crew(flow, register.record, queues.open, releases.changed, settings.beat_seconds)
        lease = timedelta(seconds=settings.lease_seconds)
        takes = Takes(flow, desk, releases, lease)
        doors = Doors(desk, takes, crew, queues, publisher, lease, settings.beat_seconds)
        reads = read_model(settings.readmodel_url, settings.data, threads=1)
        position = await recover(reads, flow, releases, follow_up, desk, time.monotonic())
        desk.position = position  # the journal may have nothing behind it to tell of
        reads.close()

        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(_follow(journal, position, desk, definitions)),
                group.create_task(_repeat(settings.beat_seconds / 2, _sweeping(crew))),
                group.create_task(_repeat(0.05, _ticking(releases))),
                group.create_task(_tell_lanes(publisher, flow, desk, releases)),
                group.create_task(keeper.run()),
            ]
            await _until(desk.reached(await journal.last_sequence()), process.stopping)
            rated = partial(releases_since, connection, codec, most=MOST_RELEASES, holding=RATED)
            await count_rates(rated, flow, utc_now(), time.monotonic())
            publish = PublishWorkflow(journal, definitions, utc_now)
            await handlers.publish(publish)
            running.append(group.create_task(handlers.watch(publish)))
            releases.ready = True
            for skill in flow.skills():
                releases.changed(skill)
            broker = StreamBroker(connection)
            doors.open(broker)
            await broker.start()
            process.ready()
            asked = await _told(connection, process, hears_restart=settings.profile == "dev")
            await broker.stop()
            for task in running:
                task.cancel()
        await follow_up.stop()
        await desk.stop()
        await keeper.flush()
        await handlers.stop()
        await publisher.stop()
        if asked is not None:
            await connection.publish(asked, b"{}")
            await connection.settle()
    finally:
        await disconnect(connection)


async def _told(connection: Connection, process: Process, *, hears_restart: bool) -> str | None:
    """Return when the process is to stop; or to be started again because the journal is to be emptied, with
    the subject on which somebody waits to hear that nothing more is decided.
    """
    restart: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(_subject: bytes, reply: bytes, _header: bytes, _data: bytes) -> None:
        if not restart.done():
            restart.set_result(reply.decode())

    if hears_restart:
        await connection.listen(subjects.RESTART, take)
    stopping = asyncio.create_task(process.stopping.wait())
    waits: set[asyncio.Future[Any]] = {stopping, restart}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return restart.result() if restart.done() else None


def _folding(codec: Codec) -> Fold:
    def fold(commit: StoredCommit) -> Job:
        job = codec.fold(Job, [commit])
        assert job is not None, "a first commit makes a job"
        return job

    return fold


async def _follow(journal: JetStreamJournal, position: int, desk: Desk, definitions: Definitions) -> None:
    async for commits in journal.follow(position):
        desk.take_in(commits)
        for commit in commits:
            if commit.kind == "workflow":
                definitions.forget(commit.id)


async def _until(done: Coroutine[None, None, None], stopping: asyncio.Event) -> None:
    """Wait for `done`, or for the end of the process."""
    waits = [asyncio.ensure_future(done), asyncio.ensure_future(stopping.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _repeat(seconds: float, act: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await act()


def _sweeping(crew: Crew) -> Callable[[], Awaitable[None]]:
    async def sweep() -> None:
        try:
            await crew.sweep(time.monotonic())
        except (BrokerError, JournalError) as problem:
            log.warning("the crew is not swept: %s", problem)

    return sweep


def _ticking(releases: Releases) -> Callable[[], Awaitable[None]]:
    async def tick() -> None:
        releases.tick()

    return tick


async def _tell_lanes(publisher: Publisher, flow: Flow, desk: Desk, releases: Releases) -> None:
    """Tell the API what room there is: at once when it changed, and again before the news gets old."""
    told: dict[str, int] = {}
    told_at, as_of = 0.0, -1
    while True:
        await asyncio.sleep(LANES_SECONDS)
        now = time.monotonic()
        lanes = {}
        if releases.ready:
            lanes = {skill: room for skill in flow.skills() if (room := flow.open_room(skill, now))}
        if lanes != told or (lanes and desk.position != as_of) or now - told_at > LANES_REPEAT_SECONDS:
            told, told_at, as_of = lanes, now, desk.position
            publisher.publish(subjects.LANES, msgspec.json.encode({"as_of": as_of, "lanes": lanes}))
