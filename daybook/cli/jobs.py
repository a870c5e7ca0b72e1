"""Commands about jobs: submit, get, list, history, watch, cancel, approve, signal, pause, resume, retry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
import typer
from rich.table import Table

from daybook.cli import show
from daybook.cli.target import AsJson, Data, Token, Url, client
from shared.application.clock import from_us, utc_now

if TYPE_CHECKING:
    from daybook.client import Changed, Event, Job, Submitted

JobId = Annotated[UUID, typer.Argument(metavar="JOB", help="The id that submit printed.")]


def submit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A workflow, or with --skill a skill.")],
    body: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="JSON, @FILE, or - for standard input. Default: {}")
    ] = None,
    *,
    skill: Annotated[bool, typer.Option("--skill", "-s", help="NAME is a skill: a job of one task.")] = False,
    version: Annotated[int | None, typer.Option(help="Of the workflow. Default: the newest.")] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wait for the end; exit 1 unless it succeeded.")
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    urgency: Annotated[
        int | None, typer.Option(min=0, max=1000, help="Higher goes first. Default: 500")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be given often.")] = None,
    alias: Annotated[str | None, typer.Option(help="Your own name for the job.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Idempotency key: the same key is the same job.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time out after this long.")
    ] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Submit a job.

    [bold]daybook submit report '{"text": "…"}'[/bold]             of the workflow report

    [bold]daybook submit resize @picture.json --skill --wait 30[/bold]   of one skill, and wait for it

    [bold]daybook submit report - --tag customer=42 --watch < in.json[/bold]
    """
    from daybook.client import JobOptions  # see `target.client`

    options = JobOptions()
    if version is not None:
        options["version"] = version
    if urgency is not None:
        options["urgency"] = urgency
    if tag:
        options["tags"] = _tags(tag)
    if alias is not None:
        options["alias"] = alias
    if deadline is not None:
        options["deadline_seconds"] = deadline
    given = _input(body)
    what: dict[str, Any] = {"skill": name} if skill else {"workflow": name}
    with client(url, token, data) as api:
        if wait is not None and not watch_it:
            ended = api.run(input=given, timeout=wait, idempotency_key=key, **what, **options)
            _show_job(ended, json=json)
            raise typer.Exit(0 if ended.succeeded else 1)
        taken = api.submit(input=given, idempotency_key=key, **what, **options)
        if watch_it:
            raise typer.Exit(_follow(api.watch(taken.job_id), json=json))
        _show_submitted(taken, json=json)


def get(job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """Show a job: its status, output or error.

    [bold]daybook get 0198f2c4-…[/bold]

    [bold]daybook get 0198f2c4-… --json | jq .output[/bold]
    """
    with client(url, token, data) as api:
        _show_job(api.get(job), json=json)


def list_jobs(
    *,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only these, like failed; may be given often.")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only jobs of this workflow.")] = None,
    skill: Annotated[str | None, typer.Option(help="Only jobs of this skill.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this tag.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")] = 20,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """List jobs, the newest first.

    [bold]daybook list --status failed --status timed_out[/bold]

    [bold]daybook list --workflow report --tag customer=42 -n 100[/bold]
    """
    found: list[Job] = []
    with client(url, token, data) as api:
        tags = _tags(tag) if tag else None
        pages = api.list(status=status, workflow=workflow, skill=skill, tags=tags, page_size=min(limit, 100))
        for job in pages:
            found.append(job)
            if len(found) == limit:
                break
    if json:
        show.as_json([job.raw for job in found])
        return
    now = utc_now()
    rows = [
        (
            job.job_id,
            show.status(job.status),
            _what(job),
            show.day_and_time(job.created_at),
            show.lasted(job.created_at, job.ended_at or now),
            "" if job.progress is None or job.is_ended else f"{job.progress:.0%}",
        )
        for job in found
    ]
    show.console().print(show.table(("job", "status", "of", "created", "took", "progress"), rows))


def history(
    job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False
) -> None:
    """Show everything that happened to a job, in order.

    [bold]daybook history 0198f2c4-…[/bold]
    """
    with client(url, token, data) as api:
        events = api.history(job)
    if json:
        show.as_json([_event(event) for event in events])
    else:
        show.console().print(history_table(events))


def history_table(events: list[Event]) -> Table:
    """Events as a table: when, how long after the first, what, by whom, and the gist of its data."""
    start = events[0].at if events else None
    rows = [
        (
            event.version,
            show.clock(event.at),
            "+" + show.lasted(start, event.at),
            event.type,
            event.by,
            gist(event),
        )
        for event in events
    ]
    made = show.table(("#", "time", "after", "event", "by", "what"), rows)
    made.expand = True  # the last column takes what is left, so that an event is one line
    last = made.columns[-1]
    last.ratio, last.no_wrap, last.overflow = 1, True, "ellipsis"
    return made


def watch(job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """Follow a job to its end, event by event; exit 1 unless it succeeded. With --json one event a line.

    [bold]daybook watch 0198f2c4-…[/bold]
    """
    with client(url, token, data) as api:
        raise typer.Exit(_follow(api.watch(job), json=json))


def cancel(
    job: JobId,
    reason: Annotated[str | None, typer.Option(help="Goes into the history.")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """End a job now, whatever it is doing.

    [bold]daybook cancel 0198f2c4-… --reason "wrong customer"[/bold]
    """
    with client(url, token, data) as api:
        _show_changed(api.cancel(job, reason=reason), json=json)


def approve(
    job: JobId,
    decision: Annotated[str, typer.Argument(help="One of those that the wait offers.")] = "approved",
    name: Annotated[str | None, typer.Option(help="Which wait, when the job has several.")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Decide what a job waits for.

    [bold]daybook approve 0198f2c4-…[/bold]

    [bold]daybook approve 0198f2c4-… rejected --name second-look[/bold]
    """
    with client(url, token, data) as api:
        _show_changed(api.approve(job, decision, name=name), json=json)


def signal(
    job: JobId,
    name: Annotated[str, typer.Argument(help="Of the signal that the job waits for.")],
    payload: Annotated[str | None, typer.Argument(help="JSON, @FILE or -. Default: null")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Send a job the signal that it waits for.

    [bold]daybook signal 0198f2c4-… paid '{"amount": 12}'[/bold]
    """
    with client(url, token, data) as api:
        _show_changed(api.signal(job, name, None if payload is None else _value(payload)), json=json)


def pause(job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """Start nothing new in a job; what runs may end.

    [bold]daybook pause 0198f2c4-…[/bold]
    """
    with client(url, token, data) as api:
        _show_changed(api.pause(job), json=json)


def resume(job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """Let a paused job go on.

    [bold]daybook resume 0198f2c4-…[/bold]
    """
    with client(url, token, data) as api:
        _show_changed(api.resume(job), json=json)


def retry(job: JobId, url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """Run an ended job again, as a new job with the same input.

    [bold]daybook retry 0198f2c4-…[/bold]
    """
    with client(url, token, data) as api:
        _show_submitted(api.retry(job), json=json)


def gist(event: Event) -> str:
    """What one line can say of an event."""
    names = ("workflow", *_TELLING) if event.type == "JobAccepted" else _TELLING
    told = {name: event.data[name] for name in names if event.data.get(name) not in (None, "")}
    error = told.pop("error", None)
    if isinstance(told.get("not_before"), int):
        told["not_before"] = show.clock(from_us(told["not_before"]))
    parts = [f"{name}={show.compact(value)}" for name, value in told.items()]
    if isinstance(error, dict):
        parts.append(f"{error.get('kind')}: {error.get('message')}")
    line = show.clean(" ".join(parts))
    return line if len(line) <= 100 else line[:99] + "…"


_TELLING = (
    "task", "attempt", "skill", "node", "progress", "message", "port", "output", "error", "reason", "name",
    "decision", "not_before", "branches", "child", "outcome", "patch",
)  # fmt: skip


def _follow(events: Any, *, json: bool) -> int:
    """Print events until the job ends; the exit status."""
    console = show.console()
    last: Event | None = None
    for event in events:
        last = event
        if json:
            show.as_json_line(_event(event))
            continue
        line = show.styled(f"{show.clock(event.at)}  ", "dim")
        style = "bold" if event.ends_job else ""
        line.append_text(show.styled(f"{event.type:<20} ", style)).append_text(show.styled(gist(event)))
        console.print(line)
    return 0 if last is not None and last.type == "JobSucceeded" else 1


def _event(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("version", "type", "at", "by", "data", "sequence")}


def _show_job(job: Job, *, json: bool) -> None:
    if json:
        show.as_json(job.raw)
        return
    error = job.error or {}
    show.console().print(
        show.facts(
            [
                ("job", job.job_id),
                ("status", show.status(job.status)),
                ("of", _what(job)),
                ("progress", None if job.progress is None or job.is_ended else f"{job.progress:.0%}"),
                ("created", show.day_and_time(job.created_at)),
                ("took", show.lasted(job.created_at, job.ended_at)),
                ("worker", job.raw.get("worker")),
                ("tags", " ".join(f"{name}={value}" for name, value in (job.raw.get("tags") or {}).items())),
                ("input", None if job.input is None else show.compact(job.input)),
                ("output", None if job.output is None else show.compact(job.output)),
                ("error", f"{error.get('kind')}: {error.get('message')}" if error else None),
            ]
        )
    )


def _show_submitted(taken: Submitted, *, json: bool) -> None:
    if json:
        show.as_json({"job_id": taken.job_id, "sequence": taken.sequence, "status": taken.status})
    else:
        print(taken.job_id)
        if sys.stdout.isatty():
            show.errors().print(f"follow it: daybook watch {taken.job_id}", style="dim")


def _show_changed(changed: Changed, *, json: bool) -> None:
    if json:
        names = ("job_id", "sequence", "status", "changed")
        show.as_json({name: getattr(changed, name) for name in names})
    else:
        line = show.status(changed.status)
        show.console().print(line if changed.changed else line.append(" (as before)"))


def _what(job: Job) -> str:
    if job.raw.get("workflow"):
        return f"{job.raw['workflow']} v{job.raw.get('version')}"
    return str(job.raw.get("skill") or "")


def _input(text: str | None) -> dict[str, Any]:
    value = {} if text is None else _value(text)
    if not isinstance(value, dict):
        raise typer.BadParameter('must be a JSON object, like \'{"name": "Ada"}\'', param_hint="INPUT")
    return value


def _value(text: str) -> Any:
    """JSON from the argument itself, from @FILE, or from standard input for "-"."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text()
        return orjson.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {text[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise typer.BadParameter(f"is not JSON: {error}") from error


def _tags(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if not all(name and equals for name, equals, _ in split):
        raise typer.BadParameter("a tag is NAME=VALUE", param_hint="--tag")
    return {name: value for name, _, value in split}
