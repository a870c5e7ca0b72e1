"""The names that blueprints' operators have always set."""

from pathlib import Path

import pytest

from shared.foreign_settings import MEANINGLESS, meaningless_variables
from shared.settings import Settings, SettingsError, known_variables, without_settings

FOREIGN = {
    "CLIENTS_CONFIG_PATH": ("clients_file", "/c.toml", Path("/c.toml")),
    "WORKERS_CONFIG_PATH": ("workers_file", "/w.toml", Path("/w.toml")),
    "SCHEDULES_CONFIG_PATH": ("schedules_file", "/s.toml", Path("/s.toml")),
    "TZ": ("timezone", "Europe/Moscow", "Europe/Moscow"),
    "CLIENT_API_PREFIX": ("client_api_prefix", "/clients/", "clients"),
    "ENABLE_CLIENT_API": ("client_api_enabled", "false", False),
    "RATE_LIMITING_ENABLED": ("rate_limiting_enabled", "true", True),
    "RATE_LIMIT_LIMIT": ("rate_limit", "7", 7),
    "RATE_LIMIT_PERIOD": ("rate_limit_seconds", "30", 30.0),
    "JOB_MAX_RETRIES": ("job_max_retries", "0", 0),
    "WORKER_TIMEOUT_SECONDS": ("worker_timeout_seconds", "60", 60.0),
    "WORKER_POLL_TIMEOUT_SECONDS": ("worker_poll_seconds", "5", 5.0),
    "WORKER_HEALTH_CHECK_INTERVAL_SECONDS": ("worker_health_seconds", "9", 9.0),
    "MAX_TRANSITIONS_PER_JOB": ("max_transitions_per_job", "8", 8),
    "MAX_HOLARCHY_DEPTH": ("max_holarchy_depth", "2", 2),
    "MAX_POLICY_SIZE_BYTES": ("max_policy_bytes", "99", 99),
    "DISPATCHER_SOFT_LIMIT": ("dispatcher_soft_limit", "4", 4),
    "S3_ENDPOINT_URL": ("s3_endpoint", "http://s3", "http://s3"),
    "S3_DEFAULT_BUCKET": ("s3_bucket", "b", "b"),
    "S3_ACCESS_KEY": ("s3_access_key", "k", "k"),
    "S3_SECRET_KEY": ("s3_secret_key", "s", "s"),
    "S3_REGION": ("s3_region", "eu", "eu"),
    "S3_MAX_CONCURRENCY": ("s3_concurrency", "7", 7),
    "S3_AUTO_CLEANUP": ("s3_cleanup", "false", False),
    "REPUTATION_MIN_THRESHOLD": ("least_reputation", "0.5", 0.5),
    "TASK_FILES_DIR": ("task_files", "/f", Path("/f")),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("otlp_endpoint", "http://c:4318", "http://c:4318"),
    "CLIENT_TOKEN": ("client_token", "c", "c"),
    "GLOBAL_WORKER_TOKEN": ("worker_token", "w", "w"),
}
# fmt: off
NAMED = [
    "API_HOST", "API_PORT", "CLIENT_API_PREFIX", "ENABLE_CLIENT_API", "CLIENT_TOKEN", "GLOBAL_WORKER_TOKEN",
    "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_STREAM_BLOCK_MS", "REDIS_ENCRYPTION_KEY",
    "HISTORY_DATABASE_URI", "INSTANCE_ID", "LOG_LEVEL", "TLS_ENABLED", "TLS_CERT_PATH", "WORKER_AUTH_MODE",
    "WORKER_TIMEOUT_SECONDS", "WORKER_POLL_TIMEOUT_SECONDS", "WORKER_HEALTH_CHECK_INTERVAL_SECONDS",
    "JOB_MAX_RETRIES", "WATCHER_INTERVAL_SECONDS", "WATCHER_LIMIT", "EXECUTOR_MAX_CONCURRENT_JOBS",
    "REPUTATION_MIN_THRESHOLD", "RATE_LIMITING_ENABLED", "RATE_LIMIT_LIMIT", "RATE_LIMIT_PERIOD",
    "RATE_LIMIT_HEARTBEAT_LIMIT", "RATE_LIMIT_POLL_LIMIT", "DISPATCHER_SOFT_LIMIT",
    "DISPATCHER_MAX_CANDIDATES", "WORK_STEALING_ENABLED", "MAX_TRANSITIONS_PER_JOB", "MAX_HOLARCHY_DEPTH",
    "MAX_POLICY_SIZE_BYTES", "DETAILED_API_RESPONSES", "S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY",
    "S3_REGION", "S3_DEFAULT_BUCKET", "S3_MAX_CONCURRENCY", "S3_AUTO_CLEANUP", "WORKERS_CONFIG_PATH",
    "CLIENTS_CONFIG_PATH", "SCHEDULES_CONFIG_PATH", "BLUEPRINTS_DIR", "TASK_FILES_DIR",
    "STRICT_EVENT_VALIDATION", "ORCHESTRATOR_SECRET_KEY", "AUDIT_SALT", "LOG_FORMAT", "TZ",
    "HISTORY_RETENTION_DAYS", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
]
# fmt: on


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_sets_what_it_means(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field, text, value = FOREIGN[name]
    monkeypatch.setenv(name, text)
    assert getattr(Settings.from_env(), field) == value


def test_the_time_zone_stays_in_the_environment_of_what_is_started() -> None:
    assert without_settings({"TZ": "Asia/Tokyo", "CLIENT_TOKEN": "t"}) == {"TZ": "Asia/Tokyo"}


def test_host_and_port_make_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "8082")
    assert Settings.from_env().http == "127.0.0.1:8082"
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    assert Settings.from_env().http == "0.0.0.0:8082"
    assert Settings.from_env(http="127.0.0.1:1").http == "127.0.0.1:1"


@pytest.mark.parametrize("name", NAMED)
def test_every_documented_name_is_read_or_said_to_mean_nothing(name: str) -> None:
    said = [told for told, _ in meaningless_variables({name: "x"})]
    assert (name in known_variables()) != (said == [name])


def test_a_variable_that_means_nothing_is_told_with_the_reason() -> None:
    told = dict(meaningless_variables({"REDIS_HOST": "redis", "HOME": "/root", "WATCHER_LIMIT": "5"}))
    assert told == {"REDIS_HOST": MEANINGLESS["REDIS_"], "WATCHER_LIMIT": MEANINGLESS["WATCHER_"]}


@pytest.mark.parametrize("prefix", ["", "v1", "a/b", "_worker"])
def test_the_prefix_is_one_segment_that_is_free(prefix: str) -> None:
    with pytest.raises(SettingsError, match="one segment"):
        Settings.from_env(client_api_prefix=prefix)


@pytest.mark.parametrize("secret", ["secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!"])
def test_a_webhook_secret_is_one_of_the_standard(secret: str) -> None:
    with pytest.raises(SettingsError, match="whsec_"):
        Settings.from_env(webhook_secret=secret)
