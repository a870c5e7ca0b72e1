"""Commands about the read model: how far it is, and building it anew."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from daybook.cli import show
from daybook.cli.target import AsJson, Data, broker
from daybook.errors import DaybookError
from shared.broker.connection import Connection, connect, disconnect
from shared.broker.errors import BrokerError

app = typer.Typer(help="The read model: how far it is, and building it anew.", no_args_is_help=True)

COMMANDS = "projector.command"
"""Where the projector listens; its module `services.projector.commands` says what it answers."""

SILENCE_SECONDS = 30.0

Nats = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Of the broker. Default: DAYBOOK_NATS_URL, else the system that runs on --data.",
        rich_help_panel="Which system",
    ),
]


class ProjectorFailed(DaybookError):
    """The projector did not do it; the message is its own, or that it is not there."""


@app.command("status")
def status(nats: Nats = None, data: Data = None, json: AsJson = False) -> None:
    """Show how far the rows are behind the journal.

    [bold]daybook projections status[/bold]
    """
    found = asyncio.run(_status(nats, data))
    if json:
        show.as_json(found)
        return
    show.console().print(
        show.facts(
            [
                ("position", found["position"]),
                ("journal", found["last_sequence"]),
                ("behind", f"{found['lag']} commits"),
                ("unfit commits", found["poisoned"]),
                ("rebuilding", "yes" if found["rebuilding"] else "no"),
            ]
        )
    )


@app.command("rebuild")
def rebuild(
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Compare only: throw the new rows away.")] = False,
    nats: Nats = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Build the rows anew from the journal, beside those that are served; compare; then swap.

    Reading goes on meanwhile. Exit 1 when old and new differ.

    [bold]daybook projections rebuild[/bold]

    [bold]daybook projections rebuild --verify[/bold]     prove that the rows are what the journal says
    """
    result = asyncio.run(_rebuild("verify" if verify else "rebuild", nats, data, quiet=json))
    if json:
        show.as_json(result)
    else:
        verdict = show.styled("equal", "green") if result["equal"] else show.styled("DIFFERENT", "red")
        show.console().print(
            show.facts(
                [
                    ("old and new rows are", verdict),
                    ("first difference", None if result["equal"] else show.compact(result["difference"])),
                    ("up to sequence", result["position"]),
                    ("digest", result["digest"]),
                    ("now served", "the new rows" if result["swapped"] else "the old rows"),
                    ("took", f"{result['seconds']:.1f} s"),
                ]
            )
        )
    raise typer.Exit(0 if result["equal"] else 1)


async def _status(nats: str | None, data: Path | None) -> dict[str, Any]:
    # Closed here and not by the end of the loop: the connection must go before the loop does.
    async with aclosing(_ask("status", nats, data, SILENCE_SECONDS / 6)) as answers:
        async for answer in answers:
            return answer
    raise AssertionError("the conversation ends with an answer or an error")


async def _rebuild(command: str, nats: str | None, data: Path | None, *, quiet: bool) -> dict[str, Any]:
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=show.errors(), disable=quiet, transient=True) as bar:
        shown = bar.add_task("starting", total=None)
        async with aclosing(_ask(command, nats, data, SILENCE_SECONDS)) as answers:
            async for answer in answers:
                if answer["done"]:
                    return answer
                phase, total = show.clean(answer["phase"]), answer["target"] or None
                bar.update(shown, description=phase, completed=answer["position"], total=total)
    raise AssertionError("the conversation ends with an answer or an error")


async def _ask(
    command: str, nats: str | None, data: Path | None, patience: float
) -> AsyncGenerator[dict[str, Any]]:
    """The projector's answers up to the one that is done. Raises ProjectorFailed."""
    target = broker(nats, data)
    try:
        connection = await connect(
            target.url, name="daybook-cli", user=target.user, password=target.password, timeout=5
        )
    except BrokerError as error:
        raise ProjectorFailed(str(error)) from error
    try:
        async with aclosing(conversation(connection, command, patience)) as answers:
            async for answer in answers:
                yield answer
    finally:
        await disconnect(connection)


async def conversation(
    connection: Connection, command: str, patience: float
) -> AsyncGenerator[dict[str, Any]]:
    """What the projector says to a command; the last answer is the one that is done.

    Raises ProjectorFailed: nobody listens, it says nothing for `patience` seconds, or it could not do it.
    """
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    inbox = connection.inbox()
    sid = await connection.listen(inbox, lambda _subject, _reply, _header, body: answers.put_nowait(body))
    try:
        await connection.publish(COMMANDS, orjson.dumps({"command": command}), reply=inbox)
        while True:
            try:
                body = await asyncio.wait_for(answers.get(), patience)
            except TimeoutError:
                raise ProjectorFailed(f"the projector says nothing for {patience:g} s") from None
            if not body:  # the broker's own answer: nobody listens
                raise ProjectorFailed(
                    "no projector runs: start `daybook up`, or `python -m services.projector`"
                )
            answer: dict[str, Any] = orjson.loads(body)
            if answer.get("done") and not answer.get("ok"):
                raise ProjectorFailed(str(answer.get("error")))
            yield answer
            if answer.get("done"):
                return
    finally:
        await connection.unlisten(sid)
