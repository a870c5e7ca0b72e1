"""Commands about workflows: publish, list, show."""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from daybook.cli import show
from daybook.cli.target import AsJson, Data, Token, Url, client

app = typer.Typer(help="Publish and list workflows.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Of the workflow.")]


@app.command("publish")
def publish(
    name: Name,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, allow_dash=True, help="The graph, JSON.")
    ],
    url: Url = None,
    token: Token = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Publish a graph. The same graph again makes no new version.

    [bold]daybook workflows publish report report.json[/bold]

    [bold]daybook workflows get report | daybook workflows publish report-copy -[/bold]
    """
    text = sys.stdin.read() if str(file) == "-" else file.read_text()
    try:
        graph: Any = orjson.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error
    if not isinstance(graph, dict):
        raise typer.BadParameter(f"{file} must hold one JSON object")
    with client(url, token, data) as api:
        published = api.publish_workflow(name, graph)
    if json:
        show.as_json(published.raw)
    else:
        show.console().print(show.styled(f"{published.name} version {published.version}"))


@app.command("list")
def list_workflows(url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """List the workflows.

    [bold]daybook workflows list[/bold]
    """
    with client(url, token, data) as api:
        found = api.workflows()
    if json:
        show.as_json([workflow.raw for workflow in found])
        return
    rows = [
        (
            workflow.name,
            workflow.version,
            workflow.definition[:12],
            show.day_and_time(show.moment_of(workflow.raw.get("updated_at"))),
        )
        for workflow in found
    ]
    show.console().print(show.table(("workflow", "version", "definition", "published"), rows))


@app.command("get")
def get(
    name: Name,
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
) -> None:
    """Print a workflow's graph as JSON, so that it can be published elsewhere.

    [bold]daybook workflows get report --version 2 > report.json[/bold]
    """
    with client(url, token, data) as api:
        show.as_json(api.workflow(name, version=version).raw["graph"])
