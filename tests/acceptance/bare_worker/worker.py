"""A worker for Daybook on nothing but a NATS client, written from docs/wire.md alone. Its skill: reverse."""

import asyncio
import json
import os
import time
import uuid
from base64 import b32hexencode
from typing import Any

import nats

WORKERS = uuid.UUID("5d9c1a3e-6e0f-5b0a-9c63-6f8f5b7a2d11")
NAME = "bare"


def token(id: uuid.UUID) -> str:  # noqa: A002
    return b32hexencode(id.bytes).decode().rstrip("=").lower()


async def report(nc: Any, job: str, task: Any, **said: Any) -> Any:
    """Say something of a task until the dispatcher answers."""
    said |= {"task": task["task"], "attempt": task.get("attempt", 1), "worker": NAME}
    subject = f"report.{token(uuid.UUID(job))}"
    while True:
        try:
            return json.loads((await nc.request(subject, json.dumps(said).encode(), timeout=5)).data)
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
            await asyncio.sleep(1)


async def work(nc: Any, msg: Any) -> None:
    commit = json.loads(msg.data)
    job, task = commit["id"], commit["events"][-1][1]
    age = time.time() - msg.metadata.timestamp.timestamp()
    fresh = msg.metadata.num_delivered == 1 and age < 0.25 and not task.get("claim")
    if fresh or (await report(nc, job, task, kind="claim"))["verdict"] == "granted":
        try:
            result = {"outcome": "succeeded", "output": {"text": task["input"]["text"][::-1]}}
        except (KeyError, TypeError) as error:
            result = {"outcome": "failed", "error": {"kind": "invalid_input", "message": repr(error)}}
        await report(nc, job, task, kind="result", **result)
    await msg.ack()


async def main() -> None:
    nc = await nats.connect(os.environ["NATS_URL"], user="worker", password=os.environ["TOKEN"])
    me = f"worker.{token(uuid.uuid5(WORKERS, NAME))}"
    hello = {"name": NAME, "skills": ["reverse"], "concurrency": 1, "instance": str(uuid.uuid4())}
    answer = await nc.request(f"{me}.hello", json.dumps(hello).encode(), timeout=30)
    pull = "$JS.API.CONSUMER.MSG.NEXT.JOURNAL." + json.loads(answer.data)["queues"][0]["consumer"]
    tasks = await nc.subscribe(nc.new_inbox())
    while True:
        await nc.publish(f"{me}.beat", json.dumps(hello).encode())
        await nc.publish(pull, b'{"batch": 1, "expires": 4000000000}', reply=tasks.subject)
        if (msg := await tasks.next_msg(timeout=60)).reply:  # without a reply it says: no task now
            await work(nc, msg)


asyncio.run(main())
