"""`daybook up`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def up(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Everything that is kept lies here. Default: ./.daybook"),
    ] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the API listens. Default: 127.0.0.1:8000")
    ] = None,
    grpc: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where gRPC listens. Default: 127.0.0.1:50051")
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(metavar="embedded|URL", help="A nats-server of our own, or the address of another."),
    ] = None,
    nats_port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Of the embedded nats-server. Default: a free one"
        ),
    ] = None,
    blueprints: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Python modules that define blueprints."
        ),
    ] = None,
    profile: Annotated[
        Literal["dev", "production"] | None,
        typer.Option(help="dev has fixed credentials; production needs yours. Default: dev"),
    ] = None,
) -> None:
    """Run all processes in the foreground until Ctrl-C.

    When everything serves, standard output has one line, [bold]daybook ready http=… grpc=… nats=…[/bold].
    Started again on the same folder it continues where it was.

    Every option is also a variable: DAYBOOK_DATA, DAYBOOK_HTTP, … A port 0 means any free one.

    [bold]daybook up[/bold]                                        the defaults, for a first look

    [bold]daybook up --data /srv/daybook --http 0.0.0.0:8000[/bold]

    [bold]daybook up --nats nats://broker:4222 --profile production[/bold]
    """
    # Here, not at the top: other commands need neither, and start sooner.
    from daybook.supervisor.up import up as run
    from shared.settings import Settings, SettingsError

    overrides: dict[str, Any] = {
        name: value
        for name, value in {
            "data": data,
            "http": http,
            "grpc": grpc,
            "nats_url": "" if nats == "embedded" else nats,
            "blueprints": blueprints,
            "profile": profile,
        }.items()
        if value is not None
    }
    try:
        settings = Settings.from_env(**overrides)
    except SettingsError as error:
        for problem in error.problems:
            print(f"daybook: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(run(settings, nats_port=nats_port))
