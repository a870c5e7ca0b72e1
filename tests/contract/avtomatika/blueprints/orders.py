"""A blueprint as people write them for state machines; the test copies it into the folder of a system."""

from typing import Any

from daybook import ActionFactory, Blueprint, F, JobContext

bp = Blueprint(
    "orders",
    api_version="v1",
    api_endpoint="/jobs/orders",
    data_stores={"prices": {"tea": 3, "dragon": 1000}},
)
bp.event("priced", {"type": "object", "properties": {"price": {"type": "number"}}})


@bp.handler(is_start=True)
async def start(initial_data: dict[str, Any], data_stores: Any, actions: ActionFactory) -> None:
    price = await data_stores.prices.get(initial_data["item"])
    actions.update_context({"price": price})
    actions.send_event("priced", {"price": price})
    if initial_data.get("wait"):
        actions.dispatch_task("wait", {}, {"success": "packed"}, event_transitions={"alarm": "alarmed"})
    elif initial_data.get("boom"):
        raise OSError("the shelf broke")
    else:
        actions.dispatch_task(
            task_type="stock",
            params={"item": initial_data["item"]},
            transitions={"success": "pack", "failure": "missing", "low": "review"},
        )


@bp.handler
async def review(stock: int, price: int, actions: ActionFactory) -> None:
    message = f"{stock} left at {price}"
    actions.await_human_approval("mail", message, {"approved": "pack", "rejected": "failed"})


@bp.handler("pack", F.initial_data["gift"] == True)  # noqa: E712 (a condition)
async def pack_gift(actions: ActionFactory) -> None:
    actions.dispatch_parallel(
        tasks=[
            {"task_type": "wrap", "params": {"paper": "red"}},
            {"type": "wrap", "params": {"paper": "none"}},
        ],
        aggregate_into="packed",
    )


@bp.handler
def pack(context: JobContext) -> None:
    context.actions.go_to("packed")


@bp.aggregator("packed")
def count(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory) -> None:
    state_history["answers"] = sorted(answer["status"] for answer in aggregation_results.values())
    state_history["papers"] = [a["data"]["paper"] for a in aggregation_results.values() if "data" in a]
    actions.go_to("shipped")


@bp.handler
def packed(actions: ActionFactory) -> None:
    actions.go_to("shipped")


@bp.handler
def missing(actions: ActionFactory) -> None:
    actions.run_blueprint("apology", {"to": "ann"}, {"success": "shipped", "failure": "failed"})


@bp.handler
def alarmed(heat: int, state_history: dict[str, Any], actions: ActionFactory) -> None:
    state_history["shipped"] = {"alarm": heat}
    actions.go_to("shipped")


@bp.handler(is_end=True)
def shipped(state_history: dict[str, Any]) -> dict[str, Any] | None:
    return None if "shipped" in state_history else state_history


@bp.handler(is_end=True)
async def failed(state_history: dict[str, Any]) -> None:
    """The job fails here."""


apology = Blueprint("apology")


@apology.handler(is_start=True)
def begin(actions: ActionFactory) -> None:
    actions.dispatch_task("write", {}, {"success": "sent"})


@apology.handler(is_end=True)
def sent() -> None:
    """Nothing to do."""
