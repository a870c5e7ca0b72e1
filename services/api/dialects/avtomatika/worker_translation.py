"""Between this dialect's words and those of the gateway. Pure: the time comes in."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from services.api.dialects.avtomatika.signatures import signature
from services.api.dialects.avtomatika.task_ids import task_id_of
from services.api.dialects.avtomatika.worker_models import Heartbeat, Registration, Result, Skill
from services.api.gateway.contracts import Contract
from services.api.gateway.members import DEFAULT_CONCURRENCY, MOST_CONCURRENCY, Profile
from services.api.gateway.tasks import Handed, Run
from shared.application.schemas import Schema, UnusableSchema, schema_of
from shared.domain.metadata import SECURITY
from shared.domain.placement import Candidate
from shared.domain.values import ErrorKind, Json, Verdict

log = logging.getLogger(__name__)

LONGEST_POLL_SECONDS: Final = 300.0

KINDS: Final[Mapping[str, ErrorKind]] = {
    "PERMANENT_ERROR": "permanent",
    "SECURITY_ERROR": "permanent",
    "DEPENDENCY_ERROR": "permanent",
    "CONTRACT_VIOLATION_ERROR": "contract_violation",
    "INVALID_INPUT_ERROR": "invalid_input",
    "INTEGRITY_MISMATCH_ERROR": "invalid_input",
    "TIMEOUT_ERROR": "timeout",
}
"""Kinds of failure by the code of an error; every other code is transient."""

REASONS: Final = {
    "unknown_job": "job_not_found",
    "stale": "stale",
    "finished": "stale",
    "late": "late",
    "cancelled": "cancelled",
    "foreign": "worker_mismatch",
}
"""Why a result is ignored, by the domain's word."""

_MESSAGES: Final = {
    "job_not_found": "Job {job} not found (expired or deleted).",
    "stale": "Result ignored: task_id {task} is no longer active for job {job}.",
    "late": "Result ignored: it came after the deadline of task {task} of job {job}.",
    "cancelled": "Result ignored: task {task} of job {job} was cancelled.",
    "worker_mismatch": "Result ignored: task {task} of job {job} belongs to another worker.",
}
VIOLATION: Final = "CONTRACT_VIOLATION_ERROR"
REFUSED: Final = "INVALID_INPUT_ERROR"


def profile_of(
    registration: Registration,
    document: Mapping[str, Any],
    contracts: Mapping[str, Contract] | None = None,
) -> Profile:
    """A worker as the gateway knows it; `document` is the whole registration as it came."""
    capabilities, resources = registration.capabilities, registration.resources
    extra = dict((capabilities.extra if capabilities else None) or {})
    skills = dict(map(_skill, registration.supported_skills or ()))
    words = {name: value for name, value in document.items() if name != "security"}
    labels = {"transport": "http", "type": registration.worker_type or ""}
    if capabilities and capabilities.hostname:
        labels["hostname"] = capabilities.hostname
    return Profile(
        name=registration.worker_id,
        skills=tuple(skills),
        candidate=Candidate(
            name=registration.worker_id,
            skills=skills,
            properties=dict((resources.properties if resources else None) or {}),
            devices=list((resources.devices if resources else None) or ()),
            software=dict(registration.installed_software or {}),
            artifacts=[
                artifact if isinstance(artifact, dict) else {"name": artifact}
                for artifact in registration.installed_artifacts or ()
            ],
            extra=extra,
            costs=dict((capabilities.cost_per_skill if capabilities else None) or {}),
            hot=frozenset(registration.hot_skills or ()),
        ),
        contracts=dict(contracts or {}),
        concurrency=_concurrency(extra.get("max_concurrent_tasks")),
        labels=labels,
        words=words,
    )


def contracts_of(registration: Registration) -> tuple[dict[str, Contract], list[str]]:
    """What the worker promises of its skills in JSON Schema, and which schemas cannot be used and why.

    A schema of another dialect, or one that cannot be used, promises nothing.
    """
    contracts: dict[str, Contract] = {}
    problems: list[str] = []

    def usable(skill: str, what: str, schema: Mapping[str, Any] | None) -> Schema | None:
        try:
            return schema_of(schema) if schema else None
        except UnusableSchema as problem:
            problems.append(f"skill {skill!r}: its {what} is not used: {problem}")
            return None

    for skill in registration.supported_skills or ():
        if isinstance(skill, str) or skill.schema_dialect not in (None, "json-schema"):
            continue
        told = {
            event: usable(skill.name, f"events_schema of {event!r}", schema)
            for event, schema in (skill.events_schema or {}).items()
        }
        contracts[skill.name] = Contract(
            usable(skill.name, "input_schema", skill.input_schema),
            usable(skill.name, "output_schema", skill.output_schema),
            {event: schema for event, schema in told.items() if schema is not None},
            frozenset(skill.output_statuses or ()),
        )
    return contracts, problems


def seconds_of(text: str | None, default: float) -> float:
    """How long a poll is held; what makes no sense counts as not said."""
    try:
        seconds = float(text) if text is not None else default
    except ValueError:
        return default
    return min(LONGEST_POLL_SECONDS, seconds) if seconds >= 0 else default


def said_of(beat: Heartbeat) -> dict[str, Any]:
    """What of a heartbeat stands in the list of workers instead of what the registration said."""
    told = {
        "available_skills": beat.available_skills,
        "hot_skills": beat.hot_skills,
        "timestamp": beat.timestamp,
    }
    return {name: value for name, value in told.items() if value is not None}


def task_of(handed: Handed, now_seconds: int) -> dict[str, Any]:
    """The task as a worker gets it. Times are whole seconds: the worker refuses anything else."""
    task = handed.task
    priority = (task.urgency - 500) / 50
    document: dict[str, Any] = {
        "job_id": str(task.key.job),
        "task_id": task_id_of(task.key),
        "type": task.skill,
        "params": task.params,
        "priority": int(priority) if priority.is_integer() else priority,
        "step": task.key.task,
        "timestamp": now_seconds,
        "tracing_context": {} if task.trace is None else {"traceparent": task.trace},
    }
    ends = [] if task.run_timeout is None else [now_seconds + max(1, round(task.run_timeout))]
    if task.deadline is not None:
        ends.append(task.deadline // 1_000_000)
    if ends:
        document["deadline"] = min(ends)
    metadata = dict(task.metadata)
    security = metadata.pop(SECURITY, None)
    told = {"metadata": metadata, "security": security}
    return document | {name: value for name, value in told.items() if value}


def signed(task: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The task with the signature that a worker checks which has the key too; as it is without a key.

    Members that say what nothing says too are left out: whether the worker's own form of the task, which is
    what it checks, has them is an accident.
    """
    if not key:
        return dict(task)
    said = {name: value for name, value in task.items() if value or name not in ("priority", "step")}
    try:
        return {**said, "sig": signature(said, key)}
    except ValueError as error:
        log.warning("task %s is handed out unsigned: %s", task["task_id"], error)
        return dict(task)


def outcome_of(result: Result, now_us: int) -> dict[str, Any]:
    """The result as a report says it. No status is success; an unknown one is a port of that name."""
    outcome: dict[str, Any] = {"started_at": _started_at(result.costs, now_us)}
    status = result.status or "success"
    if status == "failure":
        return {**outcome, "outcome": "failed", "error": _failure(result.error)}
    if status == "cancelled":
        error = {"kind": "cancelled", "code": "cancelled", "message": "the worker stopped the task"}
        return {**outcome, "outcome": "failed", "error": error}
    outcome["outcome"], outcome["output"] = "succeeded", result.data
    if status != "success":
        outcome["port"] = status
    return outcome


def transition_of(result: Result, run: Run | None) -> str:
    """What an accepted result did, in the dialect's words."""
    status = result.status or "success"
    if run is not None and run.in_group:
        return "parallel_branch_accepted"
    if status == "failure":
        return "failure_handled"
    if status == "cancelled":
        return "cancelled_handled"
    if run is not None and run.ports is not None and not {status, "*", "default"} & set(run.ports):
        return "success_transition" if status == "success" else "unhandled_status_failure"
    return "success_transition"


def answer_of(verdict: Verdict, result: Result, run: Run | None) -> dict[str, str]:
    """What a worker is told of its result."""
    if verdict.accepted:
        return {"status": "accepted", "transition": transition_of(result, run)}
    return ignored(REASONS.get(verdict.reason or "", "stale"), result.job_id, result.task_id)


def ignored(reason: str, job: str, task: str) -> dict[str, str]:
    message = _MESSAGES[reason].format(job=job, task=task)
    return {"status": "ignored", "reason": reason, "message": message}


def progress_of(payload: Mapping[str, Any]) -> tuple[float, str | None]:
    """How far, 0 to 1, and what the worker says of it; what is no text is said as JSON. Raises ValueError."""
    fraction, message = payload.get("progress"), payload.get("message")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise ValueError("payload.progress must be a number from 0 to 1")
    if message is not None and not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    return min(1.0, max(0.0, float(fraction))), message


def _skill(skill: Skill | str) -> tuple[str, dict[str, Json]]:
    if isinstance(skill, str):
        return skill, {"name": skill}
    facts: dict[str, Json] = {"name": skill.name, "properties": dict(skill.properties or {})}
    if skill.type is not None:
        facts["type"] = skill.type
    if skill.version is not None:
        facts["version"] = skill.version
    return skill.name, facts


def _concurrency(said: object) -> int:
    if isinstance(said, int) and 1 <= said <= MOST_CONCURRENCY:
        return int(said)
    return DEFAULT_CONCURRENCY


def _started_at(costs: object, now_us: int) -> int | None:
    seconds = costs.get("execution_time_seconds") if isinstance(costs, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e7:
        return None
    return now_us - round(seconds * 1e6)


def _failure(error: object) -> dict[str, Any]:
    """A failure that says nothing, or only a sentence, is transient."""
    if not isinstance(error, dict):
        return {"kind": "transient", "message": "the worker gave no reason" if error is None else str(error)}
    code = error.get("code")
    failure: dict[str, Any] = {
        "kind": KINDS.get(code, "transient") if isinstance(code, str) else "transient",
        "message": str(error.get("message") or ""),
    }
    if code is not None:
        failure["code"] = str(code)
    if error.get("details") is not None:
        failure["details"] = error["details"]
    return failure
