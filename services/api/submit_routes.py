"""POST /v1/jobs and /v1/jobs/bulk: the routes that carry the load, on bare ASGI.

The order of work is the order of cost: who is it, is the body small and flat, is it a job, then the
decision and one append. A job's id is derived from the Idempotency-Key when there is one, so that the
journal itself refuses a second.
"""

import asyncio
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import orjson
from msgspec.structs import asdict
from starlette.types import Receive

from services.api.bodies import BodyLimits, decode, decoder_of, read_body
from services.api.front import Answer, Headers, RawHeaders
from services.api.metrics import Metrics
from services.api.models import Retry, SubmitJob, SubmitJobs
from services.api.principals import Authenticator, Principal
from services.api.problems import FieldError, Problem
from services.api.translation import problem_of
from services.api.waiting import Waiting
from shared.application.clock import now_us
from shared.application.definitions import Definitions
from shared.application.ids import new_id
from shared.application.submit import REQUEST_DIGEST, Submission, Submit, Submitted, job_id_of
from shared.domain.job.spec import JobSpec
from shared.domain.metadata import RESERVED, reserved_in
from shared.domain.values import Json

MAX_WAIT_SECONDS: Final = 300.0
BULK_TURN: Final = 50
"""Items of a bulk that are decided before others get their turn: about ten milliseconds."""


@dataclass(frozen=True, slots=True)
class SubmitRoutes:
    """The two hot routes, with what they need."""

    authenticator: Authenticator
    submit: Submit
    definitions: Definitions
    waiting: Waiting
    metrics: Metrics
    limits: BodyLimits

    async def one(self, headers: Headers, receive: Receive) -> Answer:
        """202 with the job's id; or 200 with the ended job when `Prefer: wait=N` was given and it ended in
        time.
        """
        principal = self.authenticator.principal(headers.get(b"authorization"), "jobs.submit")
        body = await read_body(receive, headers, self.limits)
        order = decode(_ONE, body, self.limits)
        key = idempotency_key(headers)
        trace = traceparent(headers)
        prefer = headers.get(b"prefer")
        seconds = 0.0 if prefer is None else wait_seconds(prefer)
        if not seconds:
            return self._accepted(await self.place(principal, order, key, trace))
        job_id = new_id() if key is None else job_id_of(principal.tenant, key)
        async with self.waiting.job(job_id) as ending:
            submitted = await self.place(principal, order, key, trace, job_id)
            job = await ending.within(seconds, known=submitted.created)
        if job is None:
            return self._accepted(submitted, preference=b"wait=%d" % seconds)
        location = [(b"location", _location(submitted.id)), (b"preference-applied", b"wait=%d" % seconds)]
        return Answer(200, orjson.dumps(job), location)

    async def bulk(self, headers: Headers, receive: Receive) -> Answer:
        """200 with one answer or problem an item, in order. All are appended at once, so the journal groups
        them.
        """
        principal = self.authenticator.principal(headers.get(b"authorization"), "jobs.submit")
        limits = self.limits.bulk()
        body = await read_body(receive, headers, limits)
        orders = decode(_MANY, body, limits).jobs
        key, trace = idempotency_key(headers), traceparent(headers)
        keys = [None if key is None else f"{key}/{index}" for index in range(len(orders))]
        begun: list[Submission | Problem] = []
        try:
            for raw, item_key in zip(orders, keys, strict=True):
                begun.append(await self._begin_item(principal, raw, item_key, trace))
                if len(begun) % BULK_TURN == 0:
                    await asyncio.sleep(0)
            views = [await self._item(submission) for submission in begun]
        except BaseException:
            for submission in begun:
                if isinstance(submission, Submission):
                    submission.leave()
            raise
        return Answer(200, orjson.dumps({"items": views}), [])

    async def place(
        self,
        principal: Principal,
        order: SubmitJob,
        key: str | None = None,
        trace: str | None = None,
        job_id: UUID | None = None,
    ) -> Submitted:
        """Decide and store one job. Raises Problem, or an error that `problem_of` knows."""
        return await self._stored(await self._begin(principal, order, key, trace, job_id))

    async def _begin(
        self,
        principal: Principal,
        order: SubmitJob,
        key: str | None,
        trace: str | None,
        job_id: UUID | None = None,
    ) -> Submission:
        digest = None
        if key is not None:
            job_id = job_id_of(principal.tenant, key)
            digest = sha256(msgspec.json.encode(order, order="deterministic")).hexdigest()
        _check(order)
        definition = await self.definitions.find(principal.tenant, order.workflow, order.version, order.skill)
        spec = spec_of(order, principal, definition.version, definition.hash, trace, digest)
        return self.submit.begin(job_id or new_id(), spec, definition.graph, principal.by, digest)

    async def _stored(self, submission: Submission) -> Submitted:
        submitted = await submission.outcome()
        if submitted.created:
            self.metrics.submitted.inc()
        return submitted

    async def _begin_item(
        self, principal: Principal, raw: msgspec.Raw, key: str | None, trace: str | None
    ) -> Submission | Problem:
        try:
            if len(raw) > self.limits.max_bytes:
                raise Problem("body_too_large", f"The limit of one job is {self.limits.max_bytes} bytes.")
            return await self._begin(principal, decode(_ONE, bytes(raw), self.limits), key, trace)
        except Exception as error:  # noqa: BLE001 (each item is answered alone; unknown errors are logged)
            return problem_of(error)

    async def _item(self, begun: Submission | Problem) -> dict[str, Any]:
        if isinstance(begun, Submission):
            try:
                return _view(await self._stored(begun))
            except Exception as error:  # noqa: BLE001 (the same)
                begun = problem_of(error)
        return {"error": begun.as_dict()}

    @staticmethod
    def _accepted(submitted: Submitted, preference: bytes | None = None) -> Answer:
        headers: RawHeaders = [(b"location", _location(submitted.id))]
        if preference is not None:
            headers.append((b"preference-applied", preference))
        return Answer(202, orjson.dumps(_view(submitted)), headers)


def spec_of(
    order: SubmitJob,
    principal: Principal,
    version: int | None,
    definition: str,
    trace: str | None = None,
    digest: str | None = None,
) -> JobSpec:
    """The job that an order asks for; relative deadlines become moments here."""
    metadata = order.metadata
    if digest is not None:
        metadata = {**metadata, REQUEST_DIGEST: digest}
    deadline = order.deadline_seconds
    return JobSpec(
        workflow=order.workflow,
        version=version,
        definition=definition,
        skill=order.skill,
        input=order.input,
        tenant=principal.tenant,
        owner=principal.subject,
        urgency=order.urgency,
        tags=order.tags or None,
        alias=order.alias,
        deadline=None if deadline is None else now_us() + int(deadline * 1_000_000),
        dispatch_timeout=order.dispatch_timeout_seconds,
        run_timeout=order.run_timeout_seconds,
        retry=None if order.retry is None else _retry(order.retry),
        concurrency=None if order.concurrency is None else asdict(order.concurrency),
        rate=None if order.rate is None else asdict(order.rate),
        webhook_url=order.webhook_url,
        trace=trace,
        metadata=metadata or None,
    )


def idempotency_key(headers: Headers) -> str | None:
    """The Idempotency-Key, with or without the quotes of a structured field. Raises Problem when it cannot
    be one.
    """
    raw = headers.get(b"idempotency-key")
    if raw is None:
        return None
    key = raw.strip().strip(b'"')
    if not _KEY.fullmatch(key):
        raise Problem("malformed_request", "An Idempotency-Key has 1 to 255 visible ASCII characters.")
    return key.decode()


def traceparent(headers: Headers) -> str | None:
    """The W3C traceparent, None when there is none or it is malformed (the standard says: start anew)."""
    raw = headers.get(b"traceparent")
    return raw.decode() if raw is not None and _TRACE.fullmatch(raw) else None


@lru_cache(maxsize=64)
def wait_seconds(prefer: bytes) -> float:
    """The seconds of `wait=N` in a Prefer header (RFC 7240), at most MAX_WAIT_SECONDS; 0 when there is
    none.
    """
    found = _WAIT.search(prefer)
    return min(float(found[1]), MAX_WAIT_SECONDS) if found else 0.0


_ONE: Final = decoder_of(SubmitJob)
_MANY: Final = decoder_of(SubmitJobs)
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_TRACE: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WAIT: Final = re.compile(rb"(?:\A|[,;\s])wait\s*=\s*\"?(\d{1,6})\b", re.IGNORECASE)


def _retry(retry: Retry) -> dict[str, Json]:
    """What was said of the policy; what was left out stays out."""
    return {name: value for name, value in asdict(retry).items() if value is not None}


def _view(submitted: Submitted) -> dict[str, Any]:
    return {"job_id": submitted.id, "sequence": submitted.sequence, "status": submitted.status}


def _location(job: UUID) -> bytes:
    return b"/v1/jobs/" + str(job).encode()


def _check(order: SubmitJob) -> None:
    """What the types cannot say. Raises Problem."""
    if (order.workflow is None) == (order.skill is None):
        raise _wrong("/skill", "give one of workflow and skill")
    if order.version is not None and order.workflow is None:
        raise _wrong("/version", "only a workflow has versions")
    if reserved_in(order.metadata):
        raise _wrong("/metadata", f"keys that begin with {RESERVED!r} are the server's")
    if order.webhook_url is not None and not usable_url(order.webhook_url):
        raise _wrong("/webhook_url", "give an absolute http or https URL without credentials")


def usable_url(url: str) -> bool:
    """Whether webhooks can be sent to `url`: absolute, http or https, no credentials."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return usable and re.fullmatch(r"[\x21-\x7e]+", url) is not None


def _wrong(pointer: str, message: str) -> Problem:
    error: FieldError = {"pointer": pointer, "message": message}
    return Problem("invalid", message, errors=[error])
