"""Approvals: who may decide, and links that let whoever has one decide once.

A link is signed for one wait of one job. It is used up when that wait is over, and expires after a week.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

from shared.application.blueprint_jobs import BlueprintJob
from shared.application.clock import now_us
from shared.settings import Settings

LINK_SECONDS: Final = 7 * 86_400


def link(settings: Settings, job: BlueprintJob) -> str:
    """The path, with a signature, at which the job's oldest open approval can be decided."""
    activation = min(job.approvals)
    expires = now_us() // 1_000_000 + LINK_SECONDS
    token = f"{activation}.{expires}.{_signature(settings, job, activation, expires)}"
    return f"/_public/webhooks/approval/{job.id}?token={token}"


def granted(settings: Settings, job: BlueprintJob, token: str) -> int | None:
    """The wait that a link's token is for, None when the token is not valid (any more)."""
    match token.split("."):
        case [activation, expires, signature] if activation.isdecimal() and expires.isdecimal():
            if len(activation) > 9 or len(expires) > 12:
                return None
            expected = _signature(settings, job, int(activation), int(expires))
            if hmac.compare_digest(signature.encode(), expected.encode()):
                return int(activation) if int(expires) > now_us() // 1_000_000 else None
    return None


def _signature(settings: Settings, job: BlueprintJob, activation: int, expires: int) -> str:
    key = sha256(b"daybook approval links\n" + (settings.jwt_secret or settings.client_token).encode())
    text = f"{job.id}.{activation}.{expires}".encode()
    return urlsafe_b64encode(hmac.digest(key.digest(), text, "sha256")).decode().rstrip("=")
