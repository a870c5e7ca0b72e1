"""What can be set, from where, and what a profile allows.

Each setting is the environment variable `DAYBOOK_<NAME>`; a secret may stand in a file instead, named by
`DAYBOOK_<NAME>_FILE`. The names that clients and workers of the systems we speak for already use are
accepted too; ours win. The dev profile fills in fixed credentials that everybody knows. The production
profile has none: it refuses to start while one is missing, or is one of those.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "DAYBOOK_"

DEV_CREDENTIALS = {
    "client_token": "dev-client-token",
    "worker_token": "dev-worker-token",
    "admin_password": "secret",
    "api_key": "dev-api-key",
    "jwt_secret": "dev-jwt-secret-for-no-other-profile",
}
"""The credentials of the dev profile: fixed, printed, and refused by every other profile."""

SHORTEST_SECRET = 16
"""Characters that a production secret must have at least."""


class SettingsError(Exception):
    """The settings cannot be used. `problems` says what is wrong and what to set; it shows no secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("settings: " + "; ".join(problems))
        self.problems = problems


def _named(name: str, *foreign: str) -> AliasChoices:
    return AliasChoices(PREFIX + name.upper(), *foreign)


Seconds = Annotated[float, Field(gt=0)]


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
    nats_sync: Literal["always", "default"] = "always"
    """How the nats-server of `daybook up` writes: `always` before it answers, `default` in two minutes."""
    readmodel_url: str = Field("", repr=False)
    """Empty: SQLite under `data`. Else the URL of a PostgreSQL."""
    blueprints: Path | None = Field(None, validation_alias=_named("blueprints", "BLUEPRINTS_DIR"))
    """The folder whose Python modules define blueprints."""
    otlp_endpoint: str = ""
    """Where spans go, "http://collector:4318"; empty means nowhere."""
    log_level: str = Field("info", validation_alias=_named("log_level", "LOG_LEVEL"))

    nats_password: str = Field("", repr=False)
    """Of the user `daybook`. `daybook up` makes one for its own nats-server when none is set."""
    client_token: str = Field("", repr=False, validation_alias=_named("client_token", "CLIENT_TOKEN"))
    worker_token: str = Field("", repr=False, validation_alias=_named("worker_token", "GLOBAL_WORKER_TOKEN"))
    admin_user: str = "admin"
    admin_password: str = Field("", repr=False)
    """Empty in production: nobody can log in with a password."""
    api_key: str = Field("", repr=False)
    """Empty in production: no API key is accepted."""
    jwt_secret: str = Field("", repr=False, validation_alias=_named("jwt_secret", "JWT_SECRET_KEY"))
    jwt_dev_mode: bool = Field(default=False, validation_alias=_named("jwt_dev_mode", "JWT_DEV_MODE"))
    """No credentials are asked for, everybody is admin. The dev profile only."""
    robot_auth_enabled: bool = Field(
        default=False, validation_alias=_named("robot_auth_enabled", "ROBOT_AUTH_ENABLED")
    )
    robot_tokens: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, repr=False, validation_alias=_named("robot_tokens", "ROBOT_TOKENS")
    )
    """Robot id to the lower-case hex SHA-256 of its token; written "id:hash,id:hash"."""

    lease_seconds: Seconds = 60.0
    """How long a claimed task belongs to its worker without a renewal."""
    beat_seconds: Seconds = 5.0
    """How often a worker shows that it lives; three silent beats and it counts as lost."""
    ack_wait_seconds: Seconds = 15.0
    """How long the broker waits for a sign of progress before it delivers a task again."""
    handler_time_limit_seconds: Seconds = 10.0
    """How long one handler of a blueprint may run."""
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
                values[PREFIX + name.upper()] = str(value)
        return values

    def secrets(self) -> list[str]:
        """The values that nobody may see in a log, the fixed ones of the dev profile left out."""
        known = set(DEV_CREDENTIALS.values())
        values = [getattr(self, name) for name in CREDENTIALS]
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
        if port and not {"grpc", PREFIX + "GRPC"} & set(values):
            values["grpc"] = f"127.0.0.1:{port}"
        return values

    @model_validator(mode="after")
    def _keeps_the_profile(self) -> Self:
        if self.profile == "dev":
            for name, value in DEV_CREDENTIALS.items():
                if not getattr(self, name):
                    object.__setattr__(self, name, value)  # frozen for everyone else
            return self
        problems = list(_unfit_for_production(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


SECRETS = tuple(name for name, field in Settings.model_fields.items() if not field.repr)
"""What is never shown and may stand in a file; an address is among them because it may hold a password."""

CREDENTIALS = ("nats_password", *DEV_CREDENTIALS)


def host_port(address: str) -> tuple[str, int]:
    """The two parts of "host:port" or "[v6]:port"; ValueError when it is not that."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, like 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def known_variables() -> set[str]:
    """All names of environment variables that mean something to `Settings`."""
    names = {"GRPC_PORT"}
    for name, field in Settings.model_fields.items():
        names.update(_variables(name, field))
        if name in SECRETS:
            names.add(f"{PREFIX}{name.upper()}_FILE")
    return names


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` less every variable that `Settings` reads, so that a child gets only those given to it."""
    known = known_variables()
    return {name: value for name, value in environ.items() if name not in known}


def _variables(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [PREFIX + name.upper()]


def _unfit_for_production(settings: Settings) -> Iterator[str]:
    known = set(DEV_CREDENTIALS.values())
    required = ["client_token", "worker_token"]
    if settings.nats_url and urlsplit(settings.nats_url).username is None:
        required.append("nats_password")
    for name in CREDENTIALS:
        value = getattr(settings, name)
        variable = PREFIX + name.upper()
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


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `DAYBOOK_<SECRET>_FILE`. A line end after the secret is no part of it."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[_variables(name, field)[0] if field.validation_alias else name] = value
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if field.repr or not path:
            return None, field_name, False
        if os.environ.get(PREFIX + field_name.upper()):
            raise SettingsError([f"{PREFIX}{field_name.upper()} and {variable} are both set: keep one"])
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
        yield f"{name if name.isupper() else PREFIX + name.upper()}: {text}"
