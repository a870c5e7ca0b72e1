"""The files under `deploy`, which no container engine reads here."""

import asyncio
import json
import os
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest

from daybook.supervisor.up import SERVICES
from shared.broker.connection import connect, disconnect
from shared.broker.embedded import EmbeddedServer, binary
from shared.broker.streams import declare_streams, durability
from shared.settings import Settings, known_variables

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
SECRETS = {
    "DAYBOOK_CLIENT_TOKEN": "client-token-of-a-test",
    "DAYBOOK_WORKER_TOKEN": "worker-token-of-a-test",
    "DAYBOOK_NATS_PASSWORD": "password-of-a-test",
}


def compose() -> dict[str, Any]:
    """compose.yaml, which keeps to the YAML that this reads: maps by indentation, the rest as JSON."""
    root: dict[str, Any] = {}
    stack: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for line in (DEPLOY / "compose.yaml").read_text().splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z_]+):(?: (.+))?", text)
        assert match, line
        indent = len(line) - len(line.lstrip())
        while stack[-1][0] >= indent:
            stack.pop()
        name, value = match.groups()
        assert name not in stack[-1][1], f"{name} twice"
        if value is None:
            inner: dict[str, Any] = {}
            stack[-1][1][name] = inner
            stack.append((indent, inner))
        else:
            stack[-1][1][name] = json.loads(value) if value[0] in "[{" else value
    return root


def told(service: dict[str, Any]) -> dict[str, str]:
    """The environment of a container when the secrets are set in the shell."""
    lines = [
        line for file in service.get("env_file", []) for line in (DEPLOY / file).read_text().splitlines()
    ]
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    for entry in service.get("environment", []):
        values[entry.partition("=")[0]] = SECRETS[entry.partition("=")[0]]
    return values


def test_each_process_has_a_container_with_settings_that_production_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    containers = compose()["services"]
    assert set(containers) == {*SERVICES, "nats"}
    for name, arguments in SERVICES.items():
        container = containers[name]
        assert container["command"] == ["python", *arguments]
        environment = told(container)
        assert environment.keys() <= known_variables()
        with monkeypatch.context() as patch:
            for variable in known_variables():
                patch.delenv(variable, raising=False)
            for variable, value in environment.items():
                patch.setenv(variable, value)
            settings = Settings.from_env()
        assert settings.profile == "production"
        assert settings.nats_url == "nats://nats:4222"
        assert "data:/data" in container["volumes"]


def test_every_volume_and_file_that_is_named_is_there() -> None:
    made = compose()
    for container in made["services"].values():
        for volume in container["volumes"]:
            source = volume.partition(":")[0]
            assert source in made["volumes"] or (DEPLOY / source).exists()
        for file in container.get("env_file", []):
            assert (DEPLOY / file).exists()
    build = made["services"]["api"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()


def test_ports_are_open_to_this_machine_only() -> None:
    for container in compose()["services"].values():
        for port in container.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_the_image_holds_every_file_that_it_is_made_of() -> None:
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            *sources, _ = shlex.split(line)[1:]
            assert all((DEPLOY.parent / source).exists() for source in sources), line


def test_a_worker_may_do_exactly_what_it_may_at_the_embedded_server(tmp_path: Path) -> None:
    embedded = EmbeddedServer(tmp_path, worker_token="w", password="p")
    assert accounts((DEPLOY / "nats.conf").read_text()) == accounts(embedded._configuration())


@pytest.mark.connected
async def test_nats_conf_makes_a_server_that_syncs_each_write(tmp_path: Path) -> None:
    port = free_port()
    text = (DEPLOY / "nats.conf").read_text()
    for ours, theirs in (
        ("0.0.0.0:4222", f"127.0.0.1:{port}"),
        ("0.0.0.0:8222", "127.0.0.1:-1"),
        ("/data", str(tmp_path)),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    config = tmp_path / "nats.conf"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        binary(), "-c", str(config), env={**os.environ, **SECRETS}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        password = SECRETS["DAYBOOK_NATS_PASSWORD"]
        connection = await connect(
            f"nats://127.0.0.1:{port}",
            name="test",
            user="daybook",
            password=password,
        )
        await declare_streams(connection)
        assert (await durability(connection)).sync_always
        await disconnect(connection)
    finally:
        process.terminate()
        await process.wait()


def accounts(configuration: str) -> str:
    """The accounts with all that they lend each other and all rights, without comments and passwords."""
    block = configuration[configuration.index("accounts {") : configuration.index("system_account")]
    block = re.sub(r"(?m)^\s*#.*\n", "", block)
    return re.sub(r"password: [^,}]+", "password: …", block)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
