"""What a webhook says, and how it is signed."""

import hmac
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import orjson

from shared.application.blueprint_jobs import BlueprintJob
from shared.application.ports import StoredCommit
from shared.domain.metadata import SECURITY

NATIVE: Final = "native"


def body_of(
    job_id: UUID, commits: Iterable[StoredCommit], version: int, event: str, origin: str = NATIVE
) -> bytes:
    """The message about the job's event of that version, with the job as it was then. Members that do not
    apply are null. Statuses are in the words of the door that the job came through.
    """
    job = BlueprintJob(job_id)
    told: Any = None
    at = 0
    for commit in commits:
        for number, (topic, data) in enumerate(commit.events, commit.n):
            if number > version:
                break
            job.apply(topic, data, commit.at, commit.sequence)
            if number == version:
                at = commit.at
                told = data.get("payload") if topic == "EventEmitted" else _progress(topic, dict(data))
    native = origin == NATIVE
    result = (job.summary.output if native else job.result) if job.is_terminal else told
    content = {
        "event": event,
        "job_id": str(job_id),
        "status": job.summary.status if native else job.status,
        "result": result,
        "error": job.error_message if job.is_terminal else None,
        "security": job.summary.metadata.get(SECURITY),
        "metadata": job.metadata or None,
        "timestamp": at // 1_000_000,
    }
    return orjson.dumps(content)


def _progress(topic: str, data: dict[str, Any]) -> Any:
    if topic != "TaskProgressed":
        return None
    return {"progress": data["progress"], "message": data.get("message")}


def signed(key: bytes | None, message: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks; without a key the signature is missing."""
    headers = {"webhook-id": message, "webhook-timestamp": str(timestamp)}
    if key is not None:
        content = f"{message}.{timestamp}.".encode() + body
        signature = b64encode(hmac.digest(key, content, "sha256")).decode()
        headers["webhook-signature"] = f"v1,{signature}"
    return headers
