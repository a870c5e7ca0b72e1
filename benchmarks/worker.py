"""The worker process of the benchmarks: `python -m benchmarks.worker`. Its skills do next to nothing.

Broker and token come from DAYBOOK_NATS_URL and DAYBOOK_WORKER_TOKEN, as for any worker. It ends with its
standard input, which the one that started it holds open.
"""

import os
import sys
import threading
from typing import Any

from daybook import Worker

worker = Worker(
    nats_url=os.environ["DAYBOOK_NATS_URL"],
    token=os.environ["DAYBOOK_WORKER_TOKEN"],
    name=os.environ.get("DAYBOOK_WORKER_NAME", "bench"),
    concurrency=1024,
)


@worker.skill("noop")
async def noop(_: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1}


@worker.skill("step")
async def step(given: dict[str, Any]) -> dict[str, Any]:
    return {"x": given["x"] + 1}


@worker.skill("leaf")
async def leaf(given: dict[str, Any]) -> dict[str, Any]:
    return {"number": given["number"] + 1}


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker.run()
