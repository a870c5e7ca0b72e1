"""`daybook doctor`: is everything here that is needed, does it run, and what to do if not."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from daybook.cli import checks, show
from daybook.cli.target import AsJson, BrokerTarget, Data, Url, api_url, broker, endpoints, folder

MARKS = {"well": ("ok", "green"), "look": ("look", "yellow"), "ill": ("FAILS", "bold red")}


def doctor(
    url: Url = None,
    nats: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of the broker. Default: DAYBOOK_NATS_URL, else the system that runs on --data.",
            rich_help_panel="Which system",
        ),
    ] = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Check this machine and the system, and say what to do. Exit 1 when something fails.

    [bold]daybook doctor[/bold]

    [bold]daybook doctor --url https://jobs.example.com --nats nats://broker:4222[/bold]
    """
    address = api_url(url, data)
    running = bool(endpoints(data))
    expected = running or bool(url)
    target = _broker(nats, data)
    findings = list(checks.machine(folder(data), _host_port(address), runs=running))
    findings += checks.front_door(address, expected=expected)
    if target is not None:
        findings += asyncio.run(_collected(target))
    elif not running:
        advice = "start a system (daybook up), or point at one: --data, --nats"
        findings.append(checks.Finding("broker", "look", f"no system runs on {folder(data)}", advice))
    if json:
        show.as_json([asdict(finding) for finding in findings])
    else:
        console = show.console()
        for finding in findings:
            mark, style = MARKS[finding.level]
            line = show.styled(f"{mark:<6}", style)
            line.append_text(show.styled(f"{finding.name:<20} {finding.found}"))
            console.print(line)
            if finding.advice:
                console.print(show.styled(f"       {finding.advice}", "dim"))
    raise typer.Exit(1 if any(finding.level == "ill" for finding in findings) else 0)


async def _collected(target: BrokerTarget) -> list[checks.Finding]:
    return [finding async for finding in checks.broker(target)]


def _broker(nats: str | None, data: Path | None) -> BrokerTarget | None:
    try:
        return broker(nats, data)
    except typer.BadParameter:
        return None


def _host_port(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
