"""The command line `daybook`: its commands, and what an error looks like. Exit status 1 failure, 2 usage."""

import typer

from daybook.cli import up

app = typer.Typer(
    name="daybook",
    help="An event-sourced job orchestrator on NATS JetStream.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)


@app.callback()
def _root() -> None:
    """Keeps `up` a command of its own while others are few."""


def main() -> None:
    """The entry point of the console script."""
    app()
