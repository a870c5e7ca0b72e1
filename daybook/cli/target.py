"""Which system a command talks to, as whom: by flags, else the environment, else what runs here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from shared.profiles import DEV_CREDENTIALS

if TYPE_CHECKING:
    from daybook.client import Client

DEFAULT_DATA = Path(".daybook")
DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Of the API. Default: DAYBOOK_URL, else the system that runs on --data.",
        rich_help_panel="Which system",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="Default: DAYBOOK_CLIENT_TOKEN, else the dev profile's for a local system.",
        rich_help_panel="Which system",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The data folder of a `daybook up` on this machine. Default: DAYBOOK_DATA, else ./.daybook",
        rich_help_panel="Which system",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


class BrokerTarget(NamedTuple):
    """How our own processes reach the broker."""

    url: str
    user: str | None
    password: str | None


def client(url: str | None, token: str | None, data: Path | None = None, timeout: float = 30.0) -> Client:
    """The client for a command's flags."""
    # Here, not at the top: it is 14 MB, which `daybook up` would hold for as long as it runs.
    from daybook.client import Client

    address = api_url(url, data)
    return Client(address, api_token(token, address), timeout=timeout, retries=1)


def api_url(url: str | None, data: Path | None) -> str:
    """The address of the API."""
    return url or os.environ.get("DAYBOOK_URL") or endpoints(data).get("http") or DEFAULT_URL


def api_token(token: str | None, url: str) -> str:
    """The client token; a system on this machine gets the dev profile's if none is set."""
    found = token or os.environ.get("DAYBOOK_CLIENT_TOKEN")
    return found or (DEV_CREDENTIALS["client_token"] if is_local(url) else "")


def broker(nats_url: str | None, data: Path | None) -> BrokerTarget:
    """The broker as our own processes see it; the password is in the environment or the data folder."""
    url = nats_url or os.environ.get("DAYBOOK_NATS_URL") or endpoints(data).get("nats") or ""
    if not url:
        raise typer.BadParameter(f"no system runs on {folder(data)}: give --nats, or --data of one that runs")
    file = folder(data) / "nats" / "daybook.password"
    password = os.environ.get("DAYBOOK_NATS_PASSWORD") or (file.read_text() if file.exists() else "")
    if not password:
        return BrokerTarget(url, None, None)
    return BrokerTarget(url, os.environ.get("DAYBOOK_NATS_USER", "daybook"), password)


def endpoints(data: Path | None) -> dict[str, str]:
    """Where the system on a data folder serves: http, grpc, nats; empty when none runs."""
    file = folder(data) / "run" / "endpoints.json"
    try:
        found: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found


def folder(data: Path | None) -> Path:
    """The data folder that a command means."""
    return data or Path(os.environ.get("DAYBOOK_DATA") or DEFAULT_DATA)


def is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
