"""What the dialect's routes are made of."""

from dataclasses import dataclass, field

from services.api.bodies import BodyLimits
from services.api.dialects.avtomatika.clients import Clients
from services.api.dialects.avtomatika.flushing import Flush
from services.api.dialects.avtomatika.limits import RateLimit
from services.api.dialects.avtomatika.worker_directory import NoWorkers, WorkerDirectory
from services.api.dialects.avtomatika.worker_routes import WorkerDoor
from services.api.metrics import Metrics
from services.api.reads import Reads
from shared.application.commands import Dispatcher
from shared.application.definitions import Definitions
from shared.application.endpoints import Endpoints
from shared.application.files import Files
from shared.application.ports import Journal
from shared.application.submit import Submit
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class AvtomatikaParts:
    """Everything that a route may need. `flush` is None where nothing may be thrown away,
    `files` where no store of files is set.
    """

    journal: Journal
    reads: Reads
    dispatcher: Dispatcher
    submit: Submit
    definitions: Definitions
    endpoints: Endpoints
    clients: Clients
    settings: Settings
    limits: BodyLimits = field(default_factory=BodyLimits)
    metrics: Metrics = field(default_factory=Metrics)
    rate: RateLimit | None = None
    flush: Flush | None = None
    workers: WorkerDirectory = field(default_factory=NoWorkers)
    worker_door: WorkerDoor | None = None
    files: Files | None = None

    @property
    def dev(self) -> bool:
        return self.settings.profile == "dev"

    def hears_commands(self, worker: str) -> bool:
        """Whether the worker has a WebSocket open here."""
        return self.worker_door is not None and self.worker_door.sockets.hears(worker)
