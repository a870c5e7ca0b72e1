"""The composition root of the scheduler: the only place that reads its settings and builds its adapters."""

import asyncio

from services.scheduler.asking import BrokerDispatcher
from services.scheduler.sweep import Sweep
from shared.application.clock import now_us
from shared.broker.connection import connect, disconnect
from shared.broker.publisher import Publisher
from shared.process import Process
from shared.readmodels.opening import read_model
from shared.settings import Settings


async def main(settings: Settings, process: Process) -> None:
    """Sweep until the process is told to stop. It is ready once connected: the rows may come later."""
    connection = await connect(
        settings.nats_url,
        name="daybook-scheduler",
        user=settings.nats_user if settings.nats_password else None,
        password=settings.nats_password or None,
    )
    try:
        publisher = await Publisher.start(connection)
        reads = read_model(settings.readmodel_url, settings.data, threads=1)
        sweep = Sweep(reads, BrokerDispatcher(publisher), now_us, every_seconds=settings.sweep_seconds)
        try:
            process.ready()
            # One duty today; others run beside it, each until `stopping`.
            async with asyncio.TaskGroup() as duties:
                duties.create_task(sweep.run(process.stopping))
        finally:
            reads.close()
            await publisher.stop()
    finally:
        await disconnect(connection)
