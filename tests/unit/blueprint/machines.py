"""Blueprints that tests run handlers of."""

from typing import Any

from daybook import ActionFactory, Blueprint, F, JobContext

Action = dict[str, Any]


def run(handler: Any, view: Action | None = None, **options: Any) -> Action:
    """What a handler chooses in the one state of a blueprint."""
    bp = Blueprint("b", **options)
    bp.handler("s", is_start=True)(handler)
    return bp.run_handler("s", view or {})


def video() -> Blueprint:
    bp = Blueprint("video", api_version="v1", api_endpoint="/jobs/video", data_stores={"cache": {"user": 7}})

    @bp.handler(is_start=True)
    async def start(job_id: str, initial_data: Action, actions: ActionFactory) -> None:
        assert job_id == "j1"
        actions.go_to("decide" if initial_data else "failed")

    @bp.handler("decide", F.initial_data["kind"] == "urgent")
    async def urgent(actions: ActionFactory) -> None:
        actions.go_to("publish")

    @bp.handler("decide", F.state_history["n"] > 1)
    async def second(actions: ActionFactory) -> None:
        actions.dispatch_parallel(
            tasks=[{"type": "analyse", "params": {"f": 1}}, {"task_type": "analyse", "params": {"f": 2}}],
            aggregate_into="collect",
        )

    @bp.handler
    async def decide(actions: ActionFactory) -> None:
        actions.dispatch_task(
            task_type="transcode",
            params={"path": "/a"},
            transitions={"success": "publish", "failure": "failed", "needs_review": "review"},
            event_transitions={"alarm": "alarmed"},
        )

    @bp.aggregator
    async def collect(aggregation_results: Action, state_history: Action, actions: ActionFactory) -> None:
        state_history["summary"] = [result.get("data") for result in aggregation_results.values()]
        actions.go_to("publish")

    @bp.handler
    async def review(actions: ActionFactory) -> None:
        actions.await_human_approval("telegram", "Is it good?", {"approved": "publish", "rejected": "failed"})

    @bp.handler
    def alarmed(actions: ActionFactory) -> None:
        actions.run_blueprint("cool_down", {"fast": True}, {"success": "publish", "failure": "failed"})

    @bp.handler(is_end=True)
    async def publish(context: JobContext) -> None:
        assert context.job_id == "j1"

    @bp.handler(is_end=True)
    async def failed() -> None:
        """The job fails here."""

    bp.event("shipped", {"type": "object", "required": ["n"]})
    return bp


def view(**more: Any) -> Action:
    return {"job_id": "j1", "input": {"kind": "calm"}, "context": {}, "last": None, **more}


def run_nothing(actions: ActionFactory) -> None:
    """Chooses nothing."""
