"""The composition root of the scheduler: the only place that reads its settings and builds its adapters."""

import asyncio

from services.scheduler.avtomatika.jobs import BlueprintFiring
from services.scheduler.avtomatika.schedules_toml import reader
from services.scheduler.clockwork import Clockwork
from services.scheduler.sweep import Sweep
from services.scheduler.timetable_file import TimetableFile
from shared.application.clock import now_us, utc_now
from shared.application.definitions import Definitions
from shared.application.expressions import evaluate
from shared.application.submit import ClosedLanes, Submit
from shared.application.timetables import PublishTimetable
from shared.broker.asking import BrokerDispatcher
from shared.broker.connection import disconnect
from shared.broker.opening import open_connection
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams, durability
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import DEFAULT_TENANT
from shared.journal.codec import Codec
from shared.journal.journal import JetStreamJournal
from shared.process import Process
from shared.readmodels.opening import read_model
from shared.settings import Settings

SOURCE = "schedules.toml"


async def main(settings: Settings, process: Process) -> None:
    """Look at the clock until the process is told to stop. It is ready once connected: the rows may come
    later.
    """
    connection = await open_connection(settings, "scheduler")
    try:
        await declare_streams(connection)
        policy = await durability(connection)
        policy.must_hold(settings.profile)
        publisher = await Publisher.start(connection)
        journal = JetStreamJournal(publisher, Codec(EVENTS, AGGREGATES), sync_always=policy.sync_always)
        submit = Submit(journal, ClosedLanes(), evaluate, utc_now)
        clockwork = Clockwork(
            BlueprintFiring(journal, submit, Definitions(journal), settings, now_us), utc_now
        )
        file = TimetableFile(
            settings.schedules_file,
            reader(settings.timezone),
            PublishTimetable(journal, utc_now),
            clockwork,
            tenant=DEFAULT_TENANT,
            source=SOURCE,
        )
        await file.open()
        reads = read_model(settings.readmodel_url, settings.data, threads=1)
        sweep = Sweep(reads, BrokerDispatcher(publisher), now_us, every_seconds=settings.sweep_seconds)
        try:
            process.ready()
            async with asyncio.TaskGroup() as duties:
                duties.create_task(sweep.run(process.stopping))
                duties.create_task(file.run(process.stopping))
                duties.create_task(clockwork.run(process.stopping))
        finally:
            reads.close()
            await publisher.stop()
    finally:
        await disconnect(connection)
