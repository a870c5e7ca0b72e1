"""POST to a blueprint's endpoint: what is asked for becomes a job of the domain."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.api.dialects.avtomatika.answers import Refused, answer
from services.api.dialects.avtomatika.clients import Client
from services.api.dialects.avtomatika.guard import document_of
from services.api.dialects.avtomatika.parts import AvtomatikaParts
from services.api.submit_routes import idempotency_key, traceparent, usable_url
from shared.application import blueprint_orders
from shared.application.blueprint_orders import Bounds
from shared.application.blueprint_words import CLIENT_TAG
from shared.application.clock import now_us
from shared.application.definitions import Definition, UnknownWorkflow
from shared.application.ids import new_id
from shared.application.inputs import input_problem
from shared.application.submit import REQUEST_DIGEST, job_id_of
from shared.domain.job.spec import JobSpec
from shared.domain.metadata import CLIENT, RESERVED, SECURITY, reserved_in
from shared.domain.values import Json
from shared.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """A job that is asked for. Times are seconds."""

    initial_data: dict[str, Any]
    webhook_url: str | None
    dispatch_timeout: float | None
    result_timeout: float | None
    security: dict[str, Any] | None
    metadata: dict[str, Any] | None
    policy: dict[str, Any] | None
    max_transitions: int


class NoBlueprint(Refused):
    """No blueprint has the endpoint."""

    def __init__(self) -> None:
        super().__init__("Blueprint not found", 404)


async def submit(parts: AvtomatikaParts, client: Client, request: Request) -> Response:
    """202 with the job's id. Raises Refused, NoBlueprint before the body is read."""
    version, endpoint = request.path_params.get("version"), str(request.path_params["endpoint"])
    name = await parts.endpoints.find(client.tenant, version, endpoint)
    if name is None:
        raise NoBlueprint
    body = await document_of(parts, request)
    order = order_of(body, parts.settings)
    try:
        definition = await parts.definitions.find(client.tenant, name, None, None)
    except UnknownWorkflow:
        raise NoBlueprint from None
    _check_input(name, definition, order.initial_data)
    headers = dict(request.scope["headers"])
    key = idempotency_key(headers)
    digest = None if key is None else _digest(name, body)
    job_id = new_id() if key is None else job_id_of(client.tenant, f"{client.name}/{key}")
    spec = spec_of(order, client, name, definition, traceparent(headers), digest, parts.settings)
    submitted = await parts.submit(job_id, spec, definition.graph, client.by, digest)
    if submitted.created:
        parts.metrics.submitted.inc()
    return answer({"status": "accepted", "job_id": str(submitted.id)}, 202)


def order_of(body: Mapping[str, Any], settings: Settings) -> Order:
    """What the body asks for. Raises Refused (400) that names the member."""
    webhook_url = _member(body, "webhook_url", str, "a string")
    if webhook_url is not None and not usable_url(webhook_url):
        raise _wrong("'webhook_url' must be an absolute http or https URL without credentials")
    metadata = _member(body, "metadata", dict, "an object")
    if reserved_in(metadata):
        raise _wrong(f"'metadata': keys that begin with {RESERVED!r} are the server's")
    return Order(
        _member(body, "initial_data", dict, "an object") or {},
        webhook_url,
        _seconds(body, "dispatch_timeout"),
        _seconds(body, "result_timeout"),
        _member(body, "security", dict, "an object"),
        metadata,
        _policy(body, settings.max_policy_bytes),
        _transitions(body, settings.max_transitions_per_job),
    )


def spec_of(
    order: Order,
    client: Client,
    name: str,
    definition: Definition,
    trace: str | None,
    digest: str | None,
    settings: Settings,
) -> JobSpec:
    """The job in the domain's words."""
    known: dict[str, Json] = {"plan": client.plan, "params": dict(client.params)}
    return blueprint_orders.spec_of(
        definition,
        Bounds(settings.job_max_retries, settings.worker_timeout_seconds, settings.max_holarchy_depth),
        now_us(),
        workflow=name,
        input=order.initial_data,
        tenant=client.tenant,
        owner=client.name,
        tags={CLIENT_TAG: client.name},
        said=order.metadata or {},
        kept={
            CLIENT: known if client.plan or client.params else None,
            SECURITY: order.security,
            REQUEST_DIGEST: digest,
        },
        dispatch_timeout=order.dispatch_timeout,
        result_timeout=order.result_timeout,
        max_transitions=order.max_transitions,
        policy=order.policy,
        webhook_url=order.webhook_url,
        trace=trace,
    )


def _member(body: Mapping[str, Any], name: str, kind: type[T], what: str) -> T | None:
    value = body.get(name)
    if value is not None and not isinstance(value, kind):
        raise _wrong(f"'{name}' must be {what}")
    return value


def _seconds(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 315_360_000:
        raise _wrong(f"'{name}' must be a number of seconds above 0")
    return float(value)


def _policy(body: Mapping[str, Any], most: int) -> dict[str, Any] | None:
    policy = body.get("policy")
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise _wrong("'policy' must be a dictionary")
    size = len(orjson.dumps(policy))
    if size > most:
        raise _wrong(f"Policy size exceeds MAX_POLICY_SIZE_BYTES limit ({size} > {most})")
    skills = policy.get("allowed_skills")
    listed = isinstance(skills, list) and skills and all(isinstance(skill, str) for skill in skills)
    if skills is not None and not listed:
        raise _wrong("'policy.allowed_skills' must be a non-empty list of strings")
    return policy


def _transitions(body: Mapping[str, Any], most: int) -> int:
    value = body.get("max_transitions")
    if value is None:
        return most
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _wrong(f"'max_transitions' must be an integer between 1 and {most}")
    return value


def _check_input(name: str, definition: Definition, initial_data: dict[str, Any]) -> None:
    problem = input_problem(definition.graph, initial_data)
    if problem is not None:
        raise _wrong(f"Input validation failed for blueprint '{name}': {problem}")


def _digest(name: str, body: Mapping[str, Any]) -> str:
    return sha256(name.encode() + b"\n" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _wrong(text: str) -> Refused:
    return Refused(text, 400)
