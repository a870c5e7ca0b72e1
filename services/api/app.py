"""The composition root of the API process: the only place that reads its settings and builds its adapters."""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial

from services.api.background import forever
from services.api.bodies import BodyLimits
from services.api.dialects.avtomatika.clients import Clients
from services.api.dialects.avtomatika.file_routes import config_hash
from services.api.dialects.avtomatika.flushing import flush_of
from services.api.dialects.avtomatika.limits import RateLimit
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.dialects.avtomatika.quotas import Quotas
from services.api.dialects.avtomatika.routes import dialect_of
from services.api.dialects.avtomatika.worker_auth import WorkerAuth, spending
from services.api.dialects.avtomatika.worker_directory import HttpWorkers
from services.api.dialects.avtomatika.worker_limits import WorkerLimits
from services.api.dialects.avtomatika.worker_routes import WorkerDoor
from services.api.file_links import links_of
from services.api.front import Dialect
from services.api.gateway.gateway import Gateway, Terms
from services.api.hearing import hear_lanes, hear_position
from services.api.http import Parts
from services.api.lanes import Lanes
from services.api.metrics import Metrics
from services.api.principals import Authenticator, Principal
from services.api.readiness import checks_of
from services.api.rpc import rpc
from services.api.serving import serve
from services.api.system_routes import look
from services.api.watch import Follower
from shared.application.clock import now_seconds, utc_now
from shared.application.definitions import Definitions, forget_as_published
from shared.application.endpoints import Endpoints
from shared.application.expressions import evaluate
from shared.application.files import Files
from shared.application.publish_workflow import PublishWorkflow
from shared.application.submit import Submit
from shared.broker.asking import BrokerDispatcher
from shared.broker.connection import disconnect
from shared.broker.counters import Counters, Uses
from shared.broker.opening import open_connection
from shared.broker.publisher import Publisher
from shared.broker.streams import declare_streams, durability
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import DEFAULT_TENANT
from shared.files.config import files_config
from shared.files.observed import ObservedFiles
from shared.foreign_settings import meaningless_variables
from shared.journal.codec import Codec
from shared.journal.journal import JetStreamJournal
from shared.process import Process
from shared.readmodels.opening import read_model
from shared.settings import Settings

log = logging.getLogger(__name__)


async def main(settings: Settings, process: Process) -> None:
    """Serve until the process is told to stop."""
    for name, why in meaningless_variables(os.environ):
        log.warning("%s is accepted and changes nothing: %s", name, why)
    connection = await open_connection(settings, "api")
    try:
        await declare_streams(connection)
        policy = await durability(connection)
        policy.must_hold(settings.profile)
        publisher = await Publisher.start(connection)
        journal = JetStreamJournal(publisher, Codec(EVENTS, AGGREGATES), sync_always=policy.sync_always)
        lanes, metrics = Lanes(), Metrics()
        await hear_lanes(connection, lanes)
        reads = read_model(settings.readmodel_url, settings.data)
        await hear_position(connection, reads.moved_to)
        definitions, follower = Definitions(journal), Follower(journal)
        endpoints = Endpoints(journal)
        quotas = Quotas(Counters(publisher), utc_now)
        clients = Clients(settings.client_token, settings.clients_file, quotas)
        await quotas.load(clients.limited())
        submit, dispatcher = Submit(journal, lanes, evaluate, utc_now), BrokerDispatcher(publisher)
        limits = BodyLimits()
        rate = RateLimit(settings.rate_limit, settings.rate_limit_seconds)
        terms = Terms(
            lease_seconds=settings.lease_seconds,
            beat_seconds=settings.beat_seconds,
            silence_seconds=2 * settings.worker_health_seconds,
            beatless_seconds=settings.worker_timeout_seconds,
            soft_limit=settings.dispatcher_soft_limit,
            least_reputation=settings.least_reputation,
        )
        gateway = await Gateway.open(connection, publisher, reads.standings, terms)
        auth = WorkerAuth.of(settings, lambda: utc_now().timestamp(), spending(Uses(publisher)))
        door = WorkerDoor(
            gateway,
            auth,
            settings.worker_poll_seconds,
            metrics,
            limits=WorkerLimits(settings),
            files_hash=config_hash(settings),
            strict_events=settings.strict_events,
            task_key=settings.task_key,
        )
        files, links = _files(settings, metrics)
        avtomatika = AvtomatikaParts(
            journal=journal,
            reads=reads,
            dispatcher=dispatcher,
            submit=submit,
            definitions=definitions,
            endpoints=endpoints,
            clients=clients,
            settings=settings,
            limits=limits,
            metrics=metrics,
            rate=rate if settings.rate_limiting_enabled else None,
            flush=flush_of(connection, publisher, definitions),
            workers=HttpWorkers(gateway, auth),
            worker_door=door,
            files=files,
        )
        following = [
            forever(forget_as_published(journal, definitions), "following definitions"),
            forever(endpoints.run(), "following endpoints"),
            forever(quotas.keep(), "counting quotas"),
        ]
        parts = Parts(
            journal=journal,
            reads=reads,
            dispatcher=dispatcher,
            submit=submit,
            definitions=definitions,
            limits=limits,
            dialects=[dialect_of(avtomatika), *links],
            publish=PublishWorkflow(journal, definitions, utc_now),
            follower=follower,
            authenticator=Authenticator(tokens_of(settings)),
            metrics=metrics,
            checks=checks_of(connection, journal, reads, metrics, policy, settings.profile),
            leave=_leaving(gateway, door),
        )
        try:
            async with rpc(settings.grpc, partial(_is_ready, parts)):
                await serve(parts, settings, process)
        finally:
            for task in following:
                task.cancel()
            await asyncio.wait(following)
            await quotas.add()
            await gateway.close()
            await follower.close()
            reads.close()
            await publisher.stop()
    finally:
        await disconnect(connection)


def _files(settings: Settings, metrics: Metrics) -> tuple[Files | None, list[Dialect]]:
    """The store of files, if there is one, and what serves its links, if they are ours."""
    config = files_config(settings)
    if config is None:
        return None, []
    from shared.files.opening import open_files, open_links  # a library that most do without

    files = ObservedFiles(open_files(config, now_seconds), metrics.file_operation)
    links = open_links(config, now_seconds)
    return files, [] if links is None else [links_of(files, links)]


async def _is_ready(parts: Parts) -> bool:
    return all(found.ok for found in (await look(parts.checks)).values())


def _leaving(gateway: Gateway, door: WorkerDoor) -> Callable[[], None]:
    def leave() -> None:
        gateway.drain()
        door.sockets.close()

    return leave


def tokens_of(settings: Settings) -> dict[str, Principal]:
    """The configured client tokens and who they are."""
    client = Principal("client", DEFAULT_TENANT, frozenset({"client"}))
    return {settings.client_token: client}
