"""The state machine of the scenario `sdk`: one dispatched task and an end."""

from daybook import ActionFactory, Blueprint

bp = Blueprint("bench", api_version="v1", api_endpoint="/jobs/bench")


@bp.handler(is_start=True)
async def start(actions: ActionFactory) -> None:
    actions.dispatch_task("answer", {"number": 1}, {"success": "finished", "failure": "failed"})


@bp.handler(is_end=True)
async def finished() -> None:
    pass


@bp.handler(is_end=True)
async def failed() -> None:
    pass
