"""Variables of the systems we speak for that have no meaning here: accepted, and said so at the start."""

from collections.abc import Iterator, Mapping
from typing import Final

from shared.settings import known_variables

MEANINGLESS: Final = {
    "REDIS_": "there is no Redis: everything is kept in the journal",
    "POSTGRES_DSN": "name a PostgreSQL for the read model with DAYBOOK_READMODEL_URL",
    "HISTORY_": "history is the journal itself, and always there",
    "INSTANCE_ID": "processes need no names",
    "WATCHER_": "deadlines are looked at every DAYBOOK_SWEEP_SECONDS",
    "REPUTATION_": "only REPUTATION_MIN_THRESHOLD has a meaning; a reputation is counted from the journal",
    "WORK_STEALING_ENABLED": "tasks wait in the skill's queue, so there is nothing to steal",
    "DISPATCHER_MAX_CANDIDATES": "every waiting worker is looked at",
    "ORCHESTRATOR_INTERNAL_KEY": "the journal is chained by hashes; see docs/wire.md",
    "AUDIT_SALT": "the journal is chained by hashes; see docs/wire.md",
    "LOG_FORMAT": "text in the dev profile, JSON in production",
    "DETAILED_API_RESPONSES": "jobs are always shown in full",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "metrics are fetched, from /_public/metrics",
    "TLS_ENABLED": "TLS is on when TLS_CERT_PATH and TLS_KEY_PATH are set",
}
"""Variables of the original that are accepted and change nothing, and why. A name ending in _ is a prefix."""


def meaningless_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each variable of `environ` that is accepted and changes nothing, with the reason."""
    known = known_variables()
    for name in sorted(environ.keys() - known):
        for key, why in MEANINGLESS.items():
            if name == key or (key.endswith("_") and name.startswith(key)):
                yield name, why
                break
