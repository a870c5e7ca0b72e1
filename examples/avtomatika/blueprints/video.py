"""Videos: transcode, have a person look at odd ones, make previews in parallel, publish.

Written for Avtomatika; the one line that is another is the import.
"""

from typing import Any

from daybook import ActionFactory, Blueprint, F, JobContext

bp = Blueprint("video", api_version="v1", api_endpoint="/jobs/video")
bp.event("published", {"type": "object", "required": ["previews"]})


@bp.handler(is_start=True)
async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
    actions.dispatch_task(
        task_type="transcode",
        params={"path": initial_data["path"]},
        transitions={"success": "previews", "failure": "failed", "needs_review": "review"},
        priority=5 if initial_data.get("urgent") else 0,
    )


@bp.handler
async def review(reason: str, actions: ActionFactory) -> None:  # `reason` is what the worker returned
    question = f"Publish it? {reason}"
    actions.await_human_approval("mail", question, {"approved": "previews", "rejected": "failed"})


@bp.handler("previews", F.initial_data["previews"] == 0)
async def no_previews(actions: ActionFactory) -> None:
    actions.go_to("finished")


@bp.handler
async def previews(initial_data: dict[str, Any], output_path: str, actions: ActionFactory) -> None:
    actions.dispatch_parallel(
        tasks=[
            {"task_type": "preview", "params": {"path": output_path, "number": number}}
            for number in range(initial_data.get("previews", 2))
        ],
        aggregate_into="collect",
    )


@bp.aggregator
async def collect(
    aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory
) -> None:
    good = [answer for answer in aggregation_results.values() if answer["status"] == "success"]
    state_history["previews"] = [answer["data"]["image"] for answer in good]
    actions.send_event("published", {"previews": len(good)})
    actions.go_to("finished")


@bp.handler(is_end=True)
async def finished(context: JobContext) -> dict[str, Any]:
    history = context.state_history
    return {"path": history["output_path"], "previews": history.get("previews", [])}


@bp.handler(is_end=True)
async def failed(context: JobContext) -> None:
    """The job fails here."""
