"""Skills for the SDK, run by its own interpreter. What happens in them goes to PROBE_LOG, a line each."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from avtomatika_worker import Worker  # type: ignore[import-not-found]  # it lives in another environment

worker = Worker(worker_type="probe")


def note(**facts: Any) -> None:
    with open(os.environ["PROBE_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(facts) + "\n")


@worker.skill("echo", version="1.0.0")  # type: ignore[untyped-decorator]
async def echo(params: dict[str, Any], task_id: str, job_id: str) -> dict[str, Any]:
    note(skill="echo", task=task_id, job=job_id)
    return {"status": "success", "data": {"echo": params}}


@worker.skill("end", version="1.0.0")  # type: ignore[untyped-decorator]
async def end(params: dict[str, Any], task_id: str) -> Any:
    """Ends as it is told: by a status, by an error, by raising."""
    note(skill="end", task=task_id, **params)
    if "raise" in params:
        raise ValueError("bad value") if params["raise"] == "value" else RuntimeError("boom")
    if "scalar" in params:
        return params["scalar"]
    return params["answer"]


@worker.skill("slow", version="1.0.0")  # type: ignore[untyped-decorator]
async def slow(params: dict[str, Any], task_id: str, job_id: str, send_progress: Any) -> dict[str, Any]:
    note(skill="slow", begun=task_id)
    try:
        for step in range(1, 5):
            await send_progress(task_id, job_id, step / 4, f"step {step}")
            await asyncio.sleep(float(params["seconds"]) / 4)
    except asyncio.CancelledError:
        note(skill="slow", cancelled=task_id)
        raise
    return {"data": {"slept": params["seconds"]}}


@worker.skill("tell", version="1.0.0", events_schema={"checkpoint": {"type": "object"}})  # type: ignore[untyped-decorator]
async def tell(params: dict[str, Any], send_event: Any) -> dict[str, Any]:
    await send_event("checkpoint", {"mark": params["mark"]})
    return {"data": {}}


@worker.skill(  # type: ignore[untyped-decorator]
    "strict",
    version="1.0.0",
    input_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    output_schema={"type": "object", "properties": {"twice": {"type": "integer"}}, "required": ["twice"]},
)
async def strict(params: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"twice": 2 * params["n"]}}


@worker.skill("shout", version="1.0.0")  # type: ignore[untyped-decorator]
async def shout(params: dict[str, Any], task_id: str) -> dict[str, Any]:
    """Gets a link to a file and gives a file, which the SDK uploads."""
    return {"data": {"file": await asyncio.to_thread(_louder, params["link"], task_id)}}


def _louder(link: str, task_id: str) -> str:
    loud = Path(os.environ["TASK_FILES_DIR"]) / task_id / "loud.txt"
    loud.parent.mkdir(parents=True, exist_ok=True)
    with urlopen(link) as source:
        loud.write_bytes(source.read().upper())
    return str(loud)


if __name__ == "__main__":
    worker.run()
