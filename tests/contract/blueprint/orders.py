"""A blueprint whose handler does what its input says."""

from typing import Any

CODE = """
import os, time
from dataclasses import dataclass
from daybook import Blueprint
from daybook.errors import InvalidInput

print("a file may print")
bp = Blueprint("order")

@dataclass(slots=True)
class Count:
    value: float

@bp.state(start=True)
def check(input, actions, context):
    print("so may a handler")
    match input["how"]:
        case "dispatch":
            actions.dispatch_task("stock", {"n": 1}, {"success": "finished"}, run_timeout=5, urgency=9)
        case "parallel":
            tasks = [("a", 1), {"skill": "b", "name": "second"}]
            actions.dispatch_parallel(tasks, "finished", failures="fail")
        case "approval":
            actions.await_human_approval({"yes": "finished"}, name="legal", message="?", timeout=3)
        case "child":
            actions.run_blueprint("other", {"n": 1}, "finished", version=2)
        case "pid":
            actions.go_to("finished", os.getpid())
        case "loop":
            while True:
                pass
        case "die":
            os._exit(9)
        case "raise":
            raise ValueError("no such luck")
        case "refuse":
            raise InvalidInput("not this", code="nope")
        case "exit":
            raise SystemExit("bye")
        case "odd":
            actions.go_to("finished", object())
        case "nan":
            context.state_history["mean"] = {"of": [1.5, (2, float("nan"))]}
            actions.go_to("finished")
        case "infinite":
            actions.dispatch_task("stock", {"n": Count(float("inf"))}, {"success": "finished"})
        case "nothing":
            pass

@bp.state(end=True)
def finished(last, context, results, job_id):
    return [last, context, results, job_id]
"""


VIEW: dict[str, Any] = {"job_id": "j", "input": {}, "context": {}, "results": {}, "last": None}


def asked(how: str) -> dict[str, Any]:
    return {**VIEW, "input": {"how": how}}
