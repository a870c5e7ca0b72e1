"""Settings: where they come from, and what a profile lets through."""

from pathlib import Path

import pytest

from shared.profiles import DEV_CREDENTIALS
from shared.settings import Settings, SettingsError, host_port, known_variables

GOOD = {"client_token": "c" * 20, "worker_token": "w" * 20}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_variables():
        monkeypatch.delenv(name, raising=False)


def problems(**overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(**overrides)
    return "\n".join(caught.value.problems)


def test_the_dev_profile_has_the_credentials_that_everybody_knows() -> None:
    settings = Settings.from_env()
    assert {name: getattr(settings, name) for name in DEV_CREDENTIALS} == DEV_CREDENTIALS
    assert (settings.client_token, settings.worker_token) == ("dev-client-token", "dev-worker-token")
    assert (settings.admin_user, settings.admin_password) == ("admin", "secret")
    assert settings.api_key == "dev-api-key"


def test_production_names_every_credential_that_is_missing() -> None:
    told = problems(profile="production", nats_url="nats://broker:4222")
    for name in ("CLIENT_TOKEN", "WORKER_TOKEN", "NATS_PASSWORD"):
        assert f"DAYBOOK_{name} is missing" in told
    assert "ADMIN_PASSWORD" not in told


@pytest.mark.parametrize("name", DEV_CREDENTIALS)
@pytest.mark.parametrize("value", DEV_CREDENTIALS.values())
def test_production_refuses_every_dev_credential_wherever_it_stands(name: str, value: str) -> None:
    told = problems(profile="production", **{**GOOD, name: value})
    assert f"DAYBOOK_{name.upper()} is a credential of the dev profile" in told
    assert value not in told


def test_production_starts_with_good_credentials_and_no_doors_but_those_opened() -> None:
    settings = Settings.from_env(profile="production", **GOOD)
    assert (settings.admin_password, settings.api_key, settings.jwt_secret) == ("", "", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"client_token": "short"}, "DAYBOOK_CLIENT_TOKEN is shorter than 16 characters"),
        ({"client_token": "w" * 20}, "are the same"),
        ({"jwt_dev_mode": True}, "DAYBOOK_JWT_DEV_MODE lets everybody in"),
        ({"nats_sync": "default"}, "DAYBOOK_NATS_SYNC must be always"),
    ],
)
def test_production_refuses_what_is_unsafe(change: dict[str, object], told: str) -> None:
    assert told in problems(profile="production", **{**GOOD, **change})


def test_an_address_that_holds_credentials_needs_no_password_beside_it() -> None:
    settings = Settings.from_env(profile="production", nats_url="nats://u:pw-of-broker@broker:4222", **GOOD)
    assert "pw-of-broker" in settings.secrets()


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("CLIENT_TOKEN", "client_token", "from-a-client"),
        ("GLOBAL_WORKER_TOKEN", "worker_token", "from-a-worker"),
        ("JWT_SECRET_KEY", "jwt_secret", "signing"),
        ("LOG_LEVEL", "log_level", "debug"),
    ],
)
def test_a_foreign_name_is_an_alias_and_ours_wins(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(Settings.from_env(), field) == value
    ours = "warning" if field == "log_level" else "ours"
    monkeypatch.setenv(f"DAYBOOK_{field.upper()}", ours)
    assert getattr(Settings.from_env(), field) == ours


def test_the_other_foreign_names_mean_what_they_mean_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEPRINTS_DIR", "/flows")
    monkeypatch.setenv("GRPC_PORT", "50099")
    monkeypatch.setenv("JWT_DEV_MODE", "true")
    monkeypatch.setenv("ROBOT_AUTH_ENABLED", "1")
    monkeypatch.setenv("ROBOT_TOKENS", "robot-001:ABC, robot-002:def")
    settings = Settings.from_env()
    assert settings.blueprints == Path("/flows")
    assert settings.grpc == "127.0.0.1:50099"
    assert settings.jwt_dev_mode is True
    assert settings.robot_auth_enabled is True
    assert settings.robot_tokens == {"robot-001": "abc", "robot-002": "def"}
    monkeypatch.setenv("DAYBOOK_GRPC", "0.0.0.0:1")
    assert Settings.from_env().grpc == "0.0.0.0:1"


def test_a_secret_may_stand_in_a_file_and_loses_its_line_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(" spaced \n")
    monkeypatch.setenv("DAYBOOK_CLIENT_TOKEN_FILE", str(file))
    monkeypatch.setenv("CLIENT_TOKEN", "the alias loses")
    assert Settings.from_env().client_token == " spaced "
    assert Settings.from_env(client_token="the flag wins").client_token == "the flag wins"


def test_a_secret_in_a_file_and_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("in-the-file")
    monkeypatch.setenv("DAYBOOK_WORKER_TOKEN_FILE", str(file))
    monkeypatch.setenv("DAYBOOK_WORKER_TOKEN", "in-the-environment")
    told = problems()
    assert "both set" in told
    assert "in-the" not in told


def test_a_secret_file_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_API_KEY_FILE", "/no/such/file")
    assert "DAYBOOK_API_KEY_FILE: cannot read /no/such/file" in problems()


def test_only_secrets_have_a_file_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_HTTP_FILE", "/no/such/file")
    assert Settings.from_env().http == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DAYBOOK_HTTP", "nowhere"),
        ("DAYBOOK_GRPC", "host:99999"),
        ("DAYBOOK_LEASE_SECONDS", "0"),
        ("DAYBOOK_LOG_LEVEL", "loud"),
        ("DAYBOOK_PROFILE", "prod"),
        ("ROBOT_TOKENS", "robot-001"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_that_it_came_under(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    told = problems()
    assert told.startswith(variable if variable != "ROBOT_TOKENS" else "DAYBOOK_ROBOT_TOKENS")


def test_a_secret_shows_neither_in_text_nor_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYBOOK_CLIENT_TOKEN", "canary-1")
    monkeypatch.setenv("DAYBOOK_READMODEL_URL", "postgresql://u:canary-2@db/x")
    settings = Settings.from_env()
    assert "canary" not in repr(settings)
    assert "canary" not in problems(http="x")
    assert {"canary-1", "canary-2"} <= set(settings.secrets())
    assert not set(DEV_CREDENTIALS.values()) & set(settings.secrets())


def test_a_child_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_env(
        data=Path("/d"), lease_seconds=1.5, robot_tokens={"r": "ab"}, blueprints=Path("/b"), jwt_dev_mode=True
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env() == settings


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("[::1]:0", ("::1", 0)),
        ("db.example:65535", ("db.example", 65535)),
    ],
)
def test_an_address_has_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert host_port(address) == parts


@pytest.mark.parametrize(
    "address", ["", "8000", ":8000", "host:", "host:x", "host:-1", "host:65536", "host:²"]
)
def test_half_an_address_is_none(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        host_port(address)
