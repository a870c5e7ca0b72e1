"""The command line `daybook`: its commands, and what an error looks like. Exit status 1 failure, 2 usage."""

import sys
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from daybook.cli import checks, doctor, jobs, projections, show, up, workers, workflows
from daybook.cli.target import AsJson
from daybook.errors import ApiError, DaybookError, InvalidRequest, ServerUnreachable, Unauthorized

app = typer.Typer(
    name="daybook",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SYSTEM, JOBS, OTHER = "The system", "Jobs", "Workers and workflows"


def version(json: AsJson = False) -> None:
    """Show the versions that matter in a bug report."""
    found = {
        "daybook": version_of("daybook"),
        "python": sys.version.split()[0],
        "nats-server": checks.server_version() or "none",
    }
    if json:
        show.as_json(found)
    else:
        show.console().print(show.facts(list(found.items())))


app.command("up", rich_help_panel=SYSTEM)(up.up)
app.command("doctor", rich_help_panel=SYSTEM)(doctor.doctor)
app.add_typer(projections.app, name="projections", rich_help_panel=SYSTEM)
app.command("version", rich_help_panel=SYSTEM)(version)
app.command("submit", rich_help_panel=JOBS)(jobs.submit)
app.command("get", rich_help_panel=JOBS)(jobs.get)
app.command("list", rich_help_panel=JOBS)(jobs.list_jobs)
app.command("history", rich_help_panel=JOBS)(jobs.history)
app.command("watch", rich_help_panel=JOBS)(jobs.watch)
app.command("cancel", rich_help_panel=JOBS)(jobs.cancel)
app.command("approve", rich_help_panel=JOBS)(jobs.approve)
app.command("signal", rich_help_panel=JOBS)(jobs.signal)
app.command("pause", rich_help_panel=JOBS)(jobs.pause)
app.command("resume", rich_help_panel=JOBS)(jobs.resume)
app.command("retry", rich_help_panel=JOBS)(jobs.retry)
app.add_typer(workers.app, name="worker", rich_help_panel=OTHER)
app.command("workers", rich_help_panel=OTHER)(workers.workers)
app.add_typer(workflows.app, name="workflows", rich_help_panel=OTHER)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """An event-sourced job orchestrator on NATS JetStream.

    [bold]daybook up[/bold]                                    start everything

    [bold]daybook worker run skills:worker[/bold]              run the skills of your module skills.py

    [bold]daybook submit resize '{"size": 64}' --skill --watch[/bold]   a job for one of them
    """
    if show_version:
        print(version_of("daybook"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(2)


def main() -> None:
    """The entry point of the console script."""
    try:
        app(prog_name="daybook")
    except DaybookError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(error: DaybookError) -> None:
    """Say what is wrong and what to do about it."""
    console = show.errors()
    console.print(show.styled(f"daybook: {error}", "red"))
    if isinstance(error, InvalidRequest):
        for problem in error.errors:
            console.print(show.styled(f"  {show.compact(problem)}"))
    hint = _hint(error)
    if hint:
        console.print(show.styled(f"  {hint}", "dim"))


def _hint(error: DaybookError) -> str:
    if isinstance(error, ServerUnreachable):
        return "Does it run? Start it with `daybook up`, or give --url. `daybook doctor` looks further."
    if isinstance(error, Unauthorized):
        return "Give --token, or set DAYBOOK_CLIENT_TOKEN. In the dev profile it is dev-client-token."
    if isinstance(error, ApiError) and error.retry_after_seconds is not None:
        return f"Try again in {error.retry_after_seconds:g} s."
    return ""
