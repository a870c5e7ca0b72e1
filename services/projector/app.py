"""The composition root of the projector: the only place that reads its settings and builds its adapters."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.projector.announcing import Announcer, publisher
from services.projector.beside import Together
from services.projector.commands import Commands
from services.projector.files.cleaning import Cleaning
from services.projector.files.due import Due, forget
from services.projector.files.ended import Ended
from services.projector.project import Projector
from services.projector.tolerant import TolerantCodec
from services.projector.webhooks.outbox import Outbox
from services.projector.webhooks.sending import Sending
from services.projector.webhooks.watching import Watching
from shared.application.clock import now_seconds, now_us
from shared.application.ports import Journal
from shared.broker.connection import disconnect
from shared.broker.opening import open_connection
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams
from shared.domain.topics import AGGREGATES, EVENTS
from shared.files.config import files_config
from shared.journal.journal import JetStreamJournal
from shared.process import Process
from shared.readmodels.opening import database
from shared.settings import Settings, signing_key

if TYPE_CHECKING:
    from shared.telemetry.export import SpanExport

log = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.02
"""Under load a transaction takes the commits of so long: much less CPU for what no reader notices."""


async def main(settings: Settings, process: Process) -> None:
    """Project until the process is told to stop. It is ready as soon as it follows, however far behind."""
    connection = await open_connection(settings, "projector")
    try:
        await declare_streams(connection)
        # It only reads: how appends are made durable does not matter.
        journal = JetStreamJournal(
            await Publisher.start(connection),
            TolerantCodec(EVENTS, AGGREGATES),
            sync_always=False,
            gather_seconds=GATHER_SECONDS,
        )
        store = database(settings.readmodel_url, settings.data)
        announcer = Announcer(publisher(connection))
        outbox = Outbox(settings.readmodel_url, settings.data / "webhooks" / "webhooks.db")
        sending = Sending(
            outbox,
            journal,
            now_us,
            _key_of(settings),
            loopback=settings.profile == "dev",
            trusted=settings.webhook_ca,
        )
        watching = Watching(outbox, now_us, sending.wake)
        removal = await Removal.opened(settings, journal)
        beside = watching if removal is None else Together(watching, removal.ended)
        projector = Projector(store, journal, announcer, beside)
        commands = Commands(connection, store, journal, projector)
        await commands.open()
        projecting = asyncio.create_task(projector.run())
        tasks = [
            asyncio.create_task(watching.catch_up(journal, lambda: projector.position)),
            asyncio.create_task(sending.run()),
        ]
        if removal is not None:
            catching_up = removal.ended.catch_up(journal, lambda: projector.position)
            tasks += [asyncio.create_task(catching_up), asyncio.create_task(removal.cleaning.run())]
        export = _export(settings.otlp_endpoint)
        exporting = asyncio.create_task(export.run(journal, projector.position)) if export else None
        stopping = asyncio.create_task(process.stopping.wait())
        try:
            process.ready()
            await _until_one_ends(stopping, projecting, *tasks)
        finally:
            stopping.cancel()
            await commands.close()
            for task in (projecting, *tasks):
                task.cancel()
            await asyncio.wait({projecting, *tasks})
            watching.keep()
            outbox.close()
            if removal is not None:
                removal.close()
            if export and exporting:
                exporting.cancel()
                await asyncio.wait({exporting})
                export.close()
            announcer.close()
            projector.close()
            await journal.publisher.stop()
    finally:
        await disconnect(connection)


@dataclass(frozen=True, slots=True)
class Removal:
    """What removes the files of jobs that have ended."""

    due: Due
    ended: Ended
    cleaning: Cleaning

    @classmethod
    async def opened(cls, settings: Settings, journal: Journal) -> "Removal | None":
        """None where there are no files, or where they are to stay."""
        config, file = files_config(settings), settings.data / "files" / "removal.db"
        if config is None or not settings.s3_cleanup:
            forget(settings.readmodel_url, file)
            return None
        from shared.files.opening import open_files  # a library that most do without

        due = await Due.open(settings.readmodel_url, file, journal)
        cleaning = Cleaning(due, open_files(config, now_seconds), Path(config.work), now_us)
        ended = Ended(due, round(settings.files_keep_seconds * 1_000_000), cleaning.wake)
        return cls(due, ended, cleaning)

    def close(self) -> None:
        self.ended.keep()
        self.due.close()


async def _until_one_ends(stopping: "asyncio.Task[object]", *tasks: "asyncio.Task[None]") -> None:
    """Return when the process is to stop; raise what a task raised. One that is through is no end."""
    waiting: set[asyncio.Task[object] | asyncio.Task[None]] = {stopping, *tasks}
    while stopping in waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _export(endpoint: str | None) -> "SpanExport | None":
    if not endpoint:
        return None
    from shared.telemetry.export import SpanExport  # the exporter is 7 MB that nobody else needs

    return SpanExport(endpoint)


def _key_of(settings: Settings) -> bytes | None:
    if not settings.webhook_secret:
        log.warning("webhooks go unsigned: DAYBOOK_WEBHOOK_SECRET is not set")
        return None
    return signing_key(settings.webhook_secret)
