"""What can be set, and by which environment variables.

Each setting is the variable `DAYBOOK_<NAME>`; a secret may stand in a file instead, named by
`DAYBOOK_<NAME>_FILE`. The names that clients and workers of the systems we speak for already use are
accepted too; ours win.
"""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.profiles import CREDENTIALS, DEV_CREDENTIALS, unfit_for_production
from shared.variables import PREFIX, named, variable_of, variables_of


class SettingsError(Exception):
    """The settings cannot be used. `problems` says what is wrong and what to set; it shows no secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("settings: " + "; ".join(problems))
        self.problems = problems


class UnusableFile(SettingsError):
    """A file that a setting names cannot be used. The message names it, says why, and shows no secret."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])
        self.args = (problem,)


Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Everything a process can be told. Read once, where the process is put together, and passed on."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    profile: Literal["dev", "production"] = "dev"
    data: Path = Path(".daybook")
    """The folder of everything that is kept: the broker's files, SQLite, what runs."""
    http: str = "127.0.0.1:8000"
    grpc: str = "127.0.0.1:50051"
    nats_url: str = Field("", repr=False)
    """Empty: `daybook up` starts a nats-server of its own. A process of its own needs an address."""
    nats_user: str = "daybook"
    """Who the processes are for the broker, where there is a password for it; else the address may say."""
    nats_sync: Literal["always", "default"] = "always"
    """How the nats-server of `daybook up` writes: `always` before it answers, `default` in two minutes."""
    readmodel_url: str = Field("", repr=False)
    """Empty: SQLite under `data`. Else the URL of a PostgreSQL."""
    blueprints: Path | None = Field(None, validation_alias=named("blueprints", "BLUEPRINTS_DIR"))
    """The folder whose Python modules define blueprints."""
    otlp_endpoint: str = Field("", validation_alias=named("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"))
    """Where spans go, "http://collector:4318"; empty means nowhere."""
    log_level: str = Field("info", validation_alias=named("log_level", "LOG_LEVEL"))

    nats_password: str = Field("", repr=False)
    """Of the user `nats_user`. `daybook up` makes one for its own nats-server when none is set."""
    client_token: str = Field("", repr=False, validation_alias=named("client_token", "CLIENT_TOKEN"))
    worker_token: str = Field("", repr=False, validation_alias=named("worker_token", "GLOBAL_WORKER_TOKEN"))
    admin_user: str = "admin"
    admin_password: str = Field("", repr=False)
    """Empty in production: nobody can log in with a password."""
    api_key: str = Field("", repr=False)
    """Empty in production: no API key is accepted."""
    jwt_secret: str = Field("", repr=False, validation_alias=named("jwt_secret", "JWT_SECRET_KEY"))
    jwt_dev_mode: bool = Field(default=False, validation_alias=named("jwt_dev_mode", "JWT_DEV_MODE"))
    """No credentials are asked for, everybody is admin. The dev profile only."""
    robot_auth_enabled: bool = Field(
        default=False, validation_alias=named("robot_auth_enabled", "ROBOT_AUTH_ENABLED")
    )
    robot_tokens: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, repr=False, validation_alias=named("robot_tokens", "ROBOT_TOKENS")
    )
    """Robot id to the lower-case hex SHA-256 of its token; written "id:hash,id:hash"."""

    clients_file: Path | None = Field(None, validation_alias=named("clients_file", "CLIENTS_CONFIG_PATH"))
    """A TOML table a client: `token`, and if wanted `plan`, `monthly_attempts`, `tenant`, anything else."""
    workers_file: Path | None = Field(None, validation_alias=named("workers_file", "WORKERS_CONFIG_PATH"))
    """A TOML table a worker: its own `token`."""
    schedules_file: Path | None = Field(
        None, validation_alias=named("schedules_file", "SCHEDULES_CONFIG_PATH")
    )
    """A TOML table a schedule: when it runs which blueprint."""
    timezone: str = Field("UTC", validation_alias=named("timezone", "TZ"))
    """In which the times of schedules are meant, "Europe/Berlin"."""
    client_api_prefix: str = Field("api", validation_alias=named("client_api_prefix", "CLIENT_API_PREFIX"))
    """The first segment of the paths of blueprints' clients."""
    client_api_enabled: bool = Field(
        default=True, validation_alias=named("client_api_enabled", "ENABLE_CLIENT_API")
    )
    rate_limiting_enabled: bool = Field(
        default=False, validation_alias=named("rate_limiting_enabled", "RATE_LIMITING_ENABLED")
    )
    rate_limit: Count = Field(100, validation_alias=named("rate_limit", "RATE_LIMIT_LIMIT"))
    """Requests of one address to one path in `rate_limit_seconds`, where limiting is enabled."""
    rate_limit_seconds: Seconds = Field(
        60.0, validation_alias=named("rate_limit_seconds", "RATE_LIMIT_PERIOD")
    )
    rate_limit_heartbeats: Count = Field(
        120, validation_alias=named("rate_limit_heartbeats", "RATE_LIMIT_HEARTBEAT_LIMIT")
    )
    rate_limit_polls: Count = Field(60, validation_alias=named("rate_limit_polls", "RATE_LIMIT_POLL_LIMIT"))
    job_max_retries: Annotated[int, Field(ge=0, le=999)] = Field(
        3, validation_alias=named("job_max_retries", "JOB_MAX_RETRIES")
    )
    """How often a blueprint's failed task is tried again before its job is set aside."""
    worker_timeout_seconds: Seconds = Field(
        300.0, validation_alias=named("worker_timeout_seconds", "WORKER_TIMEOUT_SECONDS")
    )
    """How long a task of a blueprint may run when nothing else is said."""
    worker_poll_seconds: Seconds = Field(
        30.0, validation_alias=named("worker_poll_seconds", "WORKER_POLL_TIMEOUT_SECONDS")
    )
    """How long a worker's request for a task is held open when it does not say."""
    worker_health_seconds: Seconds = Field(
        60.0, validation_alias=named("worker_health_seconds", "WORKER_HEALTH_CHECK_INTERVAL_SECONDS")
    )
    """A worker of HTTP that is silent for twice as long is gone."""
    worker_signatures: bool = Field(
        default=False, validation_alias=named("worker_signatures", "WORKER_SIGNATURES_REQUIRED")
    )
    """Registrations, heartbeats, results and events must carry a valid HMAC signature."""
    task_key: str = Field("", repr=False, validation_alias=named("task_key", "ORCHESTRATOR_SECRET_KEY"))
    """Tasks for workers of HTTP are signed with it; those that have it too take no other."""
    strict_events: bool = Field(
        default=True, validation_alias=named("strict_events", "STRICT_EVENT_VALIDATION")
    )
    """Events that break the schema of their worker's skill are refused; else they are only logged."""
    worker_auth_mode: Literal["mixed", "mtls-only", "token-only"] = Field(
        "mixed", validation_alias=named("worker_auth_mode", "WORKER_AUTH_MODE")
    )
    """How workers of HTTP show who they are: a client certificate (CN = worker id), a token, or either."""
    tls_cert: Path | None = Field(None, validation_alias=named("tls_cert", "TLS_CERT_PATH"))
    """The server's certificate: with it and its key the API speaks HTTPS."""
    tls_key: Path | None = Field(None, validation_alias=named("tls_key", "TLS_KEY_PATH"))
    tls_ca: Path | None = Field(None, validation_alias=named("tls_ca", "TLS_CA_PATH"))
    """Who signs the certificates of clients; those of others are refused."""
    tls_require_client_cert: bool = Field(
        default=False, validation_alias=named("tls_require_client_cert", "TLS_REQUIRE_CLIENT_CERT")
    )
    """Nobody is heard without a client certificate, whatever it asks."""
    max_transitions_per_job: Count = Field(
        100, validation_alias=named("max_transitions_per_job", "MAX_TRANSITIONS_PER_JOB")
    )
    max_holarchy_depth: Count = Field(10, validation_alias=named("max_holarchy_depth", "MAX_HOLARCHY_DEPTH"))
    max_policy_bytes: Count = Field(4096, validation_alias=named("max_policy_bytes", "MAX_POLICY_SIZE_BYTES"))
    dispatcher_soft_limit: Count = Field(
        3, validation_alias=named("dispatcher_soft_limit", "DISPATCHER_SOFT_LIMIT")
    )
    """Tasks of a cheap worker before the strategy `overflow` takes a dearer one."""
    least_reputation: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, validation_alias=named("least_reputation", "REPUTATION_MIN_THRESHOLD")
    )
    """HTTP workers below it get no task, until the good results of others have raised it again."""
    s3_endpoint: str = Field("", validation_alias=named("s3_endpoint", "S3_ENDPOINT_URL"))
    """Files of jobs are kept there when both keys are set too."""
    s3_access_key: str = Field("", repr=False, validation_alias=named("s3_access_key", "S3_ACCESS_KEY"))
    s3_secret_key: str = Field("", repr=False, validation_alias=named("s3_secret_key", "S3_SECRET_KEY"))
    s3_region: str = Field("us-east-1", validation_alias=named("s3_region", "S3_REGION"))
    s3_bucket: str = Field("avtomatika-payloads", validation_alias=named("s3_bucket", "S3_DEFAULT_BUCKET"))
    """The default is that of workers who are told the same variables."""
    s3_concurrency: Count = Field(100, validation_alias=named("s3_concurrency", "S3_MAX_CONCURRENCY"))
    """How many operations one process has under way at the store."""
    s3_cleanup: bool = Field(default=True, validation_alias=named("s3_cleanup", "S3_AUTO_CLEANUP"))
    """Whether a job's files are removed when it has ended."""
    files_dir: Path | None = None
    """A folder that keeps files of jobs where no S3 is set."""
    files_max_bytes: Count = 5 * 1024**3
    """How large one file may be; S3 takes no more in one request by a link."""
    files_keep_seconds: Annotated[float, Field(ge=0)] = 0.0
    """How long a job's files outlive it, where they are removed at all."""
    files_secret: str = Field("", repr=False)
    """Signs links to files in `files_dir`. Empty: a key that is made once, in `data`."""
    public_url: str = ""
    """Where clients reach the API, "https://jobs.example.org"; for links that a handler makes."""
    task_files: Path | None = Field(None, validation_alias=named("task_files", "TASK_FILES_DIR"))
    """Where handlers of blueprints have their copies of files; empty means under `data`."""
    webhook_ca: Path | None = None
    """A file of certificates of authorities that webhooks trust beside the public ones."""
    webhook_secret: str = Field("", repr=False)
    """Signs webhooks (Standard Webhooks, "whsec_" and base64); empty in production: they go unsigned."""

    lease_seconds: Seconds = 60.0
    """How long a claimed task belongs to its worker without a renewal."""
    beat_seconds: Seconds = 5.0
    """How often a worker shows that it lives; three silent beats and it counts as lost."""
    ack_wait_seconds: Seconds = 15.0
    """How long the broker waits for a sign of progress before it delivers a task again."""
    handler_time_limit_seconds: Seconds = 10.0
    """How long one handler of a blueprint may run."""
    handlers_at_once: Count = Field(
        100, validation_alias=named("handlers_at_once", "EXECUTOR_MAX_CONCURRENT_JOBS")
    )
    """Handlers under way at a time, each of another job."""
    snapshot_events: Count = 500
    """A snapshot of a job is taken after so many events, so that it loads fast (docs/decisions/0009)."""
    sweep_seconds: Seconds = 0.5
    """How often the scheduler looks for jobs that are due."""
    stop_seconds: Seconds = 8.0
    """How long a process may take to stop before it is cut off."""

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """The settings of this environment, `overrides` first; SettingsError when they cannot be used."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(list(_problems(error))) from None

    def environment(self) -> dict[str, str]:
        """The variables by which a child process reads exactly these settings."""
        values: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, dict):
                value = ",".join(f"{key}:{item}" for key, item in value.items())
            if value not in (None, ""):
                values[variable_of(name)] = str(value)
        return values

    def secrets(self) -> list[str]:
        """The values that nobody may see in a log, the fixed ones of the dev profile left out."""
        known = set(DEV_CREDENTIALS.values())
        values = [getattr(self, name) for name in (*CREDENTIALS, "s3_secret_key", "files_secret")]
        password = urlsplit(self.nats_url).password, urlsplit(self.readmodel_url).password
        return [value for value in (*values, *password) if value and value not in known]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _SecretFiles(settings_cls), env_settings

    @field_validator("http", "grpc")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host_port(value)
        return value

    @field_validator("log_level")
    @classmethod
    def _is_a_level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error", "critical"):
            raise ValueError("must be debug, info, warning, error or critical")
        return value.lower()

    @field_validator("client_api_prefix")
    @classmethod
    def _is_one_segment(cls, value: str) -> str:
        value = value.strip("/")
        if not re.fullmatch(r"[A-Za-z0-9_.~-]+", value) or value in ("v1", "_public", "_worker"):
            raise ValueError("must be one segment of a path, like api; not v1, which is the native API")
        return value

    @field_validator("robot_tokens", mode="before")
    @classmethod
    def _reads_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.strip().partition(":") for pair in value.split(",") if pair.strip()]
        if not all(robot and digest for robot, _, digest in pairs):
            raise ValueError("must be pairs like robot-001:sha256hex,robot-002:sha256hex")
        return {robot: digest.lower() for robot, _, digest in pairs}

    @model_validator(mode="before")
    @classmethod
    def _takes_the_port_alone(cls, values: dict[str, Any]) -> dict[str, Any]:
        port = os.environ.get("GRPC_PORT")
        if port and not {"grpc", variable_of("grpc")} & set(values):
            values["grpc"] = f"127.0.0.1:{port}"
        host, port = os.environ.get("API_HOST"), os.environ.get("API_PORT")
        if (host or port) and not {"http", variable_of("http")} & set(values):
            values["http"] = f"{host or '127.0.0.1'}:{port or 8000}"
        return values

    @model_validator(mode="after")
    def _keeps_the_profile(self) -> Self:
        if self.profile == "dev":
            for name, value in DEV_CREDENTIALS.items():
                if not getattr(self, name):
                    object.__setattr__(self, name, value)  # frozen for everyone else
        problems = list(unfit_for_production(self)) if self.profile == "production" else []
        problems += _incomplete_tls(self)
        if not problems and self.webhook_secret:
            signing_key(self.webhook_secret)
        if problems:
            raise ValueError("\n".join(problems))
        return self


def signing_key(secret: str) -> bytes:
    """The key in a webhook secret, as Standard Webhooks writes it; ValueError when it is not that."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("DAYBOOK_WEBHOOK_SECRET must be whsec_ and the base64 of 24 to 64 bytes")
    return key


SECRETS = tuple(name for name, field in Settings.model_fields.items() if not field.repr)
"""What is never shown and may stand in a file; an address is among them because it may hold a password."""


def host_port(address: str) -> tuple[str, int]:
    """The two parts of "host:port" or "[v6]:port"; ValueError when it is not that."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, like 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def known_variables() -> set[str]:
    """All names of environment variables that mean something to `Settings`."""
    names = {"GRPC_PORT", "API_HOST", "API_PORT"}
    for name, field in Settings.model_fields.items():
        names.update(variables_of(name, field))
        if name in SECRETS:
            names.add(variable_of(name) + "_FILE")
    return names


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` less every variable that `Settings` reads, so that a child gets only those given to it."""
    known = known_variables() - {"TZ"}  # it also tells every program, handlers too, what the local time is
    return {name: value for name, value in environ.items() if name not in known}


def _incomplete_tls(settings: Settings) -> Iterator[str]:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "TLS_CERT_PATH and TLS_KEY_PATH go together"
    if settings.tls_ca is not None and settings.tls_cert is None:
        yield "TLS_CA_PATH needs TLS_CERT_PATH and TLS_KEY_PATH: only HTTPS carries client certificates"
    if settings.tls_ca is None and settings.tls_require_client_cert:
        yield "TLS_REQUIRE_CLIENT_CERT needs TLS_CA_PATH: who signs the certificates of clients"
    if settings.tls_ca is None and settings.worker_auth_mode == "mtls-only":
        yield "WORKER_AUTH_MODE=mtls-only needs TLS_CA_PATH: nobody could show a certificate"


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `DAYBOOK_<SECRET>_FILE`. A line end after the secret is no part of it."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[variables_of(name, field)[0] if field.validation_alias else name] = value
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = variable_of(field_name) + "_FILE"
        path = os.environ.get(variable)
        if field.repr or not path:
            return None, field_name, False
        if os.environ.get(variable_of(field_name)):
            raise SettingsError([f"{variable_of(field_name)} and {variable} are both set: keep one"])
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([f"{variable}: cannot read {path}: {error}"]) from error


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False, include_input=False):
        text = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            yield from text.split("\n")
            continue
        name = str(item["loc"][0])
        yield f"{name if name.isupper() else variable_of(name)}: {text}"
