"""The composition root of the projector: the only place that reads its settings and builds its adapters."""

import asyncio

from services.projector.announcing import Announcer, publisher
from services.projector.commands import Commands
from services.projector.project import Projector
from services.projector.tolerant import TolerantCodec
from shared.broker.connection import connect, disconnect
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.journal import JetStreamJournal
from shared.process import Process
from shared.readmodels.opening import database
from shared.settings import Settings
from shared.telemetry.export import SpanExport


async def main(settings: Settings, process: Process) -> None:
    """Project until the process is told to stop. It is ready as soon as it follows, however far behind."""
    connection = await connect(
        settings.nats_url, name="daybook-projector", user=settings.nats_user, password=settings.nats_password
    )
    try:
        await declare_streams(connection)
        # It only reads: how appends are made durable does not matter.
        journal = JetStreamJournal(
            await Publisher.start(connection), TolerantCodec(EVENTS, AGGREGATES), sync_always=False
        )
        store = database(settings.readmodel_url, settings.data)
        announcer = Announcer(publisher(connection))
        projector = Projector(store, journal, announcer)
        commands = Commands(connection, store, journal, projector)
        await commands.open()
        projecting = asyncio.create_task(projector.run())
        export = SpanExport(settings.otlp_endpoint) if settings.otlp_endpoint else None
        exporting = asyncio.create_task(export.run(journal, projector.position)) if export else None
        stopping = asyncio.create_task(process.stopping.wait())
        try:
            process.ready()
            await asyncio.wait({projecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if projecting.done():
                projecting.result()
        finally:
            stopping.cancel()
            await commands.close()
            projecting.cancel()
            await asyncio.wait({projecting})
            if export and exporting:
                exporting.cancel()
                await asyncio.wait({exporting})
                export.close()
            announcer.close()
            projector.close()
            await journal.publisher.stop()
    finally:
        await disconnect(connection)
