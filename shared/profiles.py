"""What a profile allows.

The dev profile fills in fixed credentials that everybody knows. The production profile has none: it refuses
to start while one is missing, or is one of those.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.variables import variable_of

if TYPE_CHECKING:
    from shared.settings import Settings

DEV_CREDENTIALS = {
    "client_token": "dev-client-token",
    "worker_token": "dev-worker-token",
    "admin_password": "secret",
    "api_key": "dev-api-key",
    "jwt_secret": "dev-jwt-secret-for-no-other-profile",
    "webhook_secret": "whsec_ZGV2LXdlYmhvb2stc2VjcmV0LWZvci1ubyBvdGhlciE=",
}
"""The credentials of the dev profile: fixed, printed, and refused by every other profile."""

CREDENTIALS = ("nats_password", *DEV_CREDENTIALS)
"""The settings that are credentials."""

SHORTEST_SECRET = 16
"""Characters that a production secret must have at least."""


def unfit_for_production(settings: "Settings") -> Iterator[str]:
    """Each reason why the production profile refuses these settings. No secret is in it."""
    known = set(DEV_CREDENTIALS.values())
    required = ["client_token", "worker_token"]
    if settings.nats_url and urlsplit(settings.nats_url).username is None:
        required.append("nats_password")
    for name in CREDENTIALS:
        value = getattr(settings, name)
        variable = variable_of(name)
        if not value:
            if name in required:
                yield f"{variable} is missing: the production profile needs it (or {variable}_FILE)"
        elif value in known:
            yield f"{variable} is a credential of the dev profile: choose another"
        elif len(value) < SHORTEST_SECRET and name != "admin_password":
            yield f"{variable} is shorter than {SHORTEST_SECRET} characters"
    if settings.client_token and settings.client_token == settings.worker_token:
        yield "DAYBOOK_CLIENT_TOKEN and DAYBOOK_WORKER_TOKEN are the same: workers would be clients"
    if settings.nats_sync != "always":
        yield "DAYBOOK_NATS_SYNC must be always: acknowledged jobs would be lost in a power cut"
    if settings.jwt_dev_mode:
        yield "DAYBOOK_JWT_DEV_MODE lets everybody in: it is for the dev profile"
