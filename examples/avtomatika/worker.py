"""A worker written with the `avtomatika-worker` SDK, as it is on PyPI.

pip install avtomatika-worker
ORCHESTRATOR_URL=http://127.0.0.1:8000 WORKER_ID=video-1 WORKER_TOKEN=dev-worker-token python worker.py
"""

# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"

import asyncio
from typing import Any

from avtomatika_worker import Worker

worker = Worker(worker_type="video")


@worker.skill("transcode", output_statuses=["needs_review"])
async def transcode(params: dict[str, Any], task_id: str, job_id: str, send_progress: Any) -> dict[str, Any]:
    for step in (1, 2):
        await asyncio.sleep(0.05)
        await send_progress(task_id, job_id, step / 2, f"pass {step} of 2")
    data = {"output_path": params["path"] + ".mp4"}
    if "odd" in params["path"]:
        return {"status": "needs_review", "data": {**data, "reason": "it looks odd"}}
    return {"status": "success", "data": data}


@worker.skill("preview")
async def preview(params: dict[str, Any]) -> dict[str, Any]:
    if params["number"] == 1:
        return {"status": "failure", "error": {"code": "PERMANENT_ERROR", "message": "the frame is black"}}
    return {"status": "success", "data": {"image": f"{params['path']}.{params['number']}.png"}}


if __name__ == "__main__":
    worker.run()
