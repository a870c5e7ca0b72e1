"""The workers' endpoints, below `/_worker`: bare ASGI, because two of them carry the load."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send

from services.api.bodies import ClientGone
from services.api.connection import ON_GONE
from services.api.dialects.avtomatika import protocol
from services.api.dialects.avtomatika import worker_contracts as contracts
from services.api.dialects.avtomatika import worker_models as models
from services.api.dialects.avtomatika import worker_translation as translation
from services.api.dialects.avtomatika.task_ids import key_of, task_id_of
from services.api.dialects.avtomatika.worker_auth import Denied, WorkerAuth
from services.api.dialects.avtomatika.worker_calls import (
    Call,
    accepted,
    check_name,
    decoded,
    document_of,
    refused,
    said_worker,
)
from services.api.dialects.avtomatika.worker_events import EventRefused, Events
from services.api.dialects.avtomatika.worker_limits import TooOften, WorkerLimits
from services.api.dialects.avtomatika.worker_socket import Sockets
from services.api.front import Answer, respond
from services.api.gateway.gateway import Gateway
from services.api.gateway.greeting import HelloRefused
from services.api.gateway.polls import Poll
from services.api.gateway.roster import UnknownWorker
from services.api.metrics import Metrics
from services.api.problems import Problem
from shared.application.clock import now_seconds, now_us
from shared.application.commands import DispatcherSilent

log = logging.getLogger(__name__)

OTHER_FILES: Final = "Your S3 settings are not those of the orchestrator: files will not be found"


def routes(door: "WorkerDoor | None") -> list[BaseRoute]:
    """The workers' sockets; none where no worker may come. Their requests go to the door unmatched."""
    return [] if door is None else [WebSocketRoute("/_worker/ws/{worker_id}", door.sockets)]


class WorkerDoor:
    """The ASGI application of all that a worker may ask over HTTP."""

    def __init__(
        self,
        gateway: Gateway,
        auth: WorkerAuth,
        poll_seconds: float,
        metrics: Metrics | None = None,
        *,
        limits: WorkerLimits,
        files_hash: str | None = None,
        strict_events: bool = True,
        task_key: str = "",
    ) -> None:
        """`poll_seconds` is how long a poll is held that does not say; `files_hash` names our bucket;
        `strict_events` refuses those that break their skill's schema; tasks are signed with `task_key`.
        """
        self._limits, self._files_hash, self._task_key = limits, files_hash, task_key
        self._gateway, self._auth, self._poll_seconds = gateway, auth, poll_seconds
        self._metrics = metrics or Metrics()
        self._events = Events(gateway, strict=strict_events)
        self.sockets = Sockets(gateway, auth, self._events, self._metrics)
        self._exact: dict[str, tuple[str, Callable[[Call], Awaitable[Answer]]]] = {
            "/_worker/workers/register": ("POST", self._register),
            "/_worker/tasks/result": ("POST", self._result),
            "/_worker/events": ("POST", self._event),
            "/_worker/auth/token": ("POST", self._token),
            "/_worker/auth/token/refresh": ("POST", self._refresh),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive)
        try:
            answer = await self._answered(call, scope["path"], scope["method"])
        except ClientGone:
            return
        except Denied as denied:
            self._metrics.denied(denied.why)
            answer = refused(denied.text, denied.status)
        except TooOften as limited:
            self._metrics.blocked.inc()
            answer = refused("Too Many Requests", 429)
            answer.headers.append((b"retry-after", b"%d" % limited.seconds))
        except UnknownWorker:
            answer = refused("Worker not found", 404)
        except HelloRefused as refusal:
            answer = refused(f"Invalid WorkerRegistration payload: {refusal}", 400)
        except DispatcherSilent:
            answer = refused("The orchestrator cannot decide just now", 503)
            answer.headers.append((b"retry-after", b"1"))
        except Problem as problem:
            answer = refused(
                problem.detail or problem.title, 400 if problem.status == 422 else problem.status
            )
        if answer.status == 204:
            await send({"type": "http.response.start", "status": 204, "headers": answer.headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await respond(send, answer)

    async def _answered(self, call: Call, path: str, method: str) -> Answer:
        exact = self._exact.get(path)
        if exact is not None:
            call.scope["route"] = SimpleNamespace(path=path)
            takes, handle = exact
            if method != takes:
                raise HTTPException(405, "Method Not Allowed", headers={"Allow": takes})
            self._limits.take(path.rpartition("/")[2], call.worker, call.token)
            return await handle(call)
        found = _WORKER.fullmatch(path)
        if found is None:
            raise HTTPException(404, "Not Found")
        polls = found[2] is not None
        takes = "GET" if polls else "PATCH"
        call.scope["route"] = SimpleNamespace(path="/_worker/workers/{worker_id}" + (found[2] or ""))
        if method != takes:
            raise HTTPException(405, "Method Not Allowed", headers={"Allow": takes})
        worker = found[1]
        self._limits.take("poll" if polls else "heartbeat", worker, call.token)
        self._auth.check(call.token, worker, call.certified)
        if call.worker not in (None, worker):
            text = f"Message signer ID '{call.worker}' does not match worker ID '{worker}'"
            raise Denied(403, text, "identity")
        return await (self._next(call, worker) if polls else self._heartbeat(call, worker))

    async def _register(self, call: Call) -> Answer:
        body = await call.body()
        document = document_of(body)
        worker = document.get("worker_id")
        if not isinstance(worker, str) or not worker:
            return refused("Missing or invalid worker_id in registration data", 400)
        self._auth.check(call.token, worker, call.certified)
        check_name(worker)
        if call.worker not in (None, worker):
            raise Denied(403, "Immediate sender ID mismatch", "identity")
        self._verify(call, document, worker)
        registration = decoded(models.registration_of, body, "WorkerRegistration")
        promised, warnings = translation.contracts_of(registration)
        await self._gateway.roster.register(translation.profile_of(registration, document, promised))
        theirs = registration.capabilities.s3_config_hash if registration.capabilities else None
        if theirs and self._files_hash and theirs != self._files_hash:
            log.warning("worker %s has other S3 settings", worker)
            warnings.append(OTHER_FILES)
        told = {"warning": "; ".join(warnings)} if warnings else {}
        told["version"] = protocol.answered(call.scope["headers"]).decode()
        return accepted({"status": "registered", **told})

    async def _heartbeat(self, call: Call, worker: str) -> Answer:
        body = await call.body()
        if not body or body == b"{}":
            self._gateway.roster.touch(worker)
            return accepted({"status": "ttl_refreshed"})
        beat = decoded(models.heartbeat_of, body, "Heartbeat")
        document = document_of(body)
        self._verify(call, document, worker)
        words = self._gateway.roster.words(worker)
        if beat.status == "offline":
            self._gateway.roster.leave(worker)
        elif beat.supported_skills:
            changed = {**words, "supported_skills": document["supported_skills"]}
            changed["skills_hash"] = beat.skills_hash
            registration = msgspec.convert(changed, models.Registration)
            promised, _ = translation.contracts_of(registration)
            self._gateway.roster.reskill(translation.profile_of(registration, changed, promised))
            words = changed
        listed = beat.current_tasks or []
        keys = [key for key in map(key_of, listed) if key is not None]
        unwanted = self._gateway.roster.heartbeat(
            worker,
            keys,
            status=beat.status or "idle",
            usage=beat.usage,
            listed=listed,
            hot=None if beat.hot_skills is None else frozenset(beat.hot_skills),
            said=translation.said_of(beat),
        )
        answer: dict[str, Any] = {"status": "ok"}
        if beat.skills_hash is not None and beat.skills_hash != words.get("skills_hash"):
            answer["require_full_sync"] = True
        if unwanted:
            answer["cancel_task_ids"] = [task_id_of(key) for key in unwanted]
        return accepted(answer)

    async def _next(self, call: Call, worker: str) -> Answer:
        check_name(worker)  # a poll may be the first that is heard of a worker
        query = dict(parse_qsl(call.scope["query_string"].decode("latin-1")))
        skills = query.get("available_skills")
        available = None if skills is None else frozenset(filter(None, skills.split(",")))
        seconds = translation.seconds_of(query.get("timeout"), self._poll_seconds)
        poll = self._gateway.poll(worker, available, seconds)
        with _watched(call, self._gateway, poll):
            handed = await poll.answer
        if handed is not None:
            self._limits.give_back("poll", worker, call.token)
        if handed is None or await contracts.refused(self._gateway, worker, handed):
            return Answer(204, b"", [])
        if self._gateway.roster.is_hot(worker, handed.task.skill):
            self._metrics.hot.inc()
        return accepted(translation.signed(translation.task_of(handed, now_seconds()), self._task_key))

    async def _result(self, call: Call) -> Answer:
        content = await self._judged(call)
        if content["status"] == "ignored":
            self._metrics.ignored.inc()
        return accepted(content)

    async def _judged(self, call: Call) -> Mapping[str, Any]:
        """What is told about a result."""
        body = await call.body()
        result = decoded(models.result_of, body, "TaskResult")
        worker = call.worker or call.certified or self._auth.named_by(call.token) or result.worker_id
        if worker is None:
            raise Problem("malformed_request", "Missing worker_id: say X-Worker-ID")
        self._auth.check(call.token, worker, call.certified)
        self._verify(call, body, worker)
        if result.worker_id not in (None, worker):
            return translation.ignored("worker_mismatch", result.job_id, result.task_id)
        key = key_of(result.task_id)
        if key is None or str(key.job) != result.job_id.lower():
            reason = "stale" if _UUID.fullmatch(result.job_id) else "job_not_found"
            return translation.ignored(reason, result.job_id, result.task_id)
        run = self._gateway.held(key)
        result = contracts.judged(self._gateway, worker, run, result)
        verdict = await self._gateway.result(key, worker, translation.outcome_of(result, now_us()))
        return translation.answer_of(verdict, result, run)

    async def _event(self, call: Call) -> Answer:
        body = await call.body()
        worker = call.worker or call.certified or self._auth.named_by(call.token) or said_worker(body)
        if worker is None:
            return refused("Missing worker_id: say X-Worker-ID", 400)
        self._auth.check(call.token, worker, call.certified)
        try:
            event = models.event_of(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return accepted({"status": "error", "message": f"Invalid event payload: {error}"})
        self._verify(call, body, worker, "bubbling_chain")
        try:
            return accepted(await self._events.take(event, worker))
        except EventRefused as refusal:
            code = {} if refusal.code is None else {"code": refusal.code}
            return accepted({"status": "error", "message": f"Invalid event payload: {refusal}", **code})

    async def _token(self, call: Call) -> Answer:
        worker = call.worker or call.certified or self._auth.named_by(call.token)
        if worker is None:
            return refused("Missing worker_id: say X-Worker-ID", 400)
        self._auth.check(call.token, worker, call.certified)
        return accepted(self._auth.issue(worker))

    async def _refresh(self, call: Call) -> Answer:
        wanted = decoded(models.refresh_of, await call.body() or b"{}", "TokenRefresh")
        if not wanted.refresh_token:
            return refused("Missing refresh_token in payload", 400)
        return accepted(await self._auth.refresh(wanted.refresh_token, call.worker))

    def _verify(self, call: Call, said: bytes | Mapping[str, Any], worker: str, *unsigned: str) -> None:
        if self._auth.signed and not self._auth.vouches(call.certified):
            document = document_of(said) if isinstance(said, bytes) else said
            self._auth.verify(document, call.token or "", worker, *unsigned)


@contextmanager
def _watched(call: Call, gateway: Gateway, poll: Poll) -> Iterator[None]:
    """While the body runs, a client that hangs up ends the poll."""

    def gone() -> None:
        gateway.gone(poll)

    on_gone: list[Callable[[], None]] | None = call.scope.get(ON_GONE)
    watcher = None
    if on_gone is not None:
        on_gone.append(gone)
    else:  # a server that cannot tell: wait for its word
        watcher = asyncio.ensure_future(_until_gone(call.receive, gone))
    try:
        yield
    except BaseException:
        gateway.gone(poll)
        raise
    finally:
        if on_gone is not None and gone in on_gone:
            on_gone.remove(gone)
        if watcher is not None:
            watcher.cancel()


async def _until_gone(receive: Receive, gone: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()


_WORKER: Final = re.compile(r"/_worker/workers/([^/]+)(/tasks/next)?")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
