"""Commands about workers: run one, list all."""

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from daybook.cli import show
from daybook.cli.target import AsJson, Data, Token, Url, client, endpoints, is_local
from shared.logs import log_to_stderr
from shared.process import follow_parent
from shared.profiles import DEV_CREDENTIALS

app = typer.Typer(help="Run a worker.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Run a worker."""


@app.command("run")
def run(
    target: Annotated[str, typer.Argument(metavar="MODULE:WORKER", help="Where the Worker is.")],
    *,
    nats: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Default: DAYBOOK_NATS_URL, else the system that runs on --data."),
    ] = None,
    worker_token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TOKEN", help="Default: DAYBOOK_WORKER_TOKEN, else the dev profile's."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="One worker has it at a time. Default: host and process")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Tasks at once. Default: the worker's own")
    ] = None,
    app_dir: Annotated[Path, typer.Option(help="Where MODULE is looked for.", file_okay=False)] = Path(),
    data: Data = None,
) -> None:
    """Run the worker of a Python module until Ctrl-C, then finish what runs.

    With [bold]worker = Worker()[/bold] in skills.py:

    [bold]daybook worker run skills:worker[/bold]

    [bold]daybook worker run skills:worker --nats nats://broker:4222 --concurrency 32[/bold]
    """
    from daybook.worker import Worker

    address = nats or os.environ.get("DAYBOOK_NATS_URL") or endpoints(data).get("nats")
    secret = worker_token or os.environ.get("DAYBOOK_WORKER_TOKEN")
    if not secret and address and is_local(address):
        secret = DEV_CREDENTIALS["worker_token"]
    # Set before the import: a Worker() without arguments reads them when it is made.
    for variable, value in (
        ("DAYBOOK_NATS_URL", address),
        ("DAYBOOK_WORKER_TOKEN", secret),
        ("DAYBOOK_WORKER_NAME", name),
    ):
        if value:
            os.environ[variable] = value
    log_to_stderr("worker", level=os.environ.get("DAYBOOK_LOG_LEVEL", "info"), style="text")
    worker = _found(target, app_dir)
    if not isinstance(worker, Worker):
        raise typer.BadParameter(
            f"{target} is a {type(worker).__name__}, not a Worker", param_hint="MODULE:WORKER"
        )
    if concurrency is not None:
        worker.concurrency = concurrency
    # Whoever started us, and gave us a pipe, takes us with it; the worker may finish what runs.
    follow_parent(worker.stop, worker.drain_seconds + 5)
    worker.run()


def workers(url: Url = None, token: Token = None, data: Data = None, json: AsJson = False) -> None:
    """List the workers, those that live first.

    [bold]daybook workers[/bold]
    """
    with client(url, token, data) as api:
        found = api.workers()
    if json:
        show.as_json([worker.raw for worker in found])
        return
    order = {"online": 0, "draining": 1}
    found.sort(key=lambda worker: (order.get(worker.status, 2), worker.name))
    rows = [
        (
            worker.name,
            show.status(worker.status),
            " ".join(worker.skills),
            worker.concurrency,
            show.day_and_time(show.moment_of(worker.raw.get("registered_at"))),
        )
        for worker in found
    ]
    show.console().print(show.table(("worker", "status", "skills", "tasks at once", "since"), rows))


def _found(target: str, app_dir: Path) -> object:
    module_name, colon, path = target.partition(":")
    if not module_name or not colon or not path:
        raise typer.BadParameter("must be MODULE:WORKER, like skills:worker", param_hint="MODULE:WORKER")
    sys.path.insert(0, str(app_dir.resolve()))
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # it is the module that imports what is not there
        raise typer.BadParameter(f"no module {module_name} in {app_dir.resolve()}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(f"{module_name} has no {path}", param_hint="MODULE:WORKER")
        found = getattr(found, part)
    return found
