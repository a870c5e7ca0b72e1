"""Where signatures are demanded: the SDK's hold, and everything else is refused in the documents' words."""

import asyncio
import hmac
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.contract.avtomatika.worker.sdk import sdk_worker
from tests.contract.avtomatika.worker.world import World
from tests.support.system import WORKER_TOKEN, System

pytestmark = [pytest.mark.connected, pytest.mark.slow]

TASK_KEY = "the key that tasks are signed with"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    settings = {"WORKER_SIGNATURES_REQUIRED": "true", "ORCHESTRATOR_SECRET_KEY": TASK_KEY}
    made = System(tmp_path_factory.mktemp("signed") / "data", settings)
    try:
        asyncio.run(made.start())
        yield made
        asyncio.run(made.stop())
    finally:
        made.destroy()


def signed(
    document: dict[str, Any], age: int = 0, signer: str = "w1", key: str = WORKER_TOKEN
) -> dict[str, Any]:
    told = {**document, "timestamp": int(time.time()) - age}
    message = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    signature = hmac.new(key.encode(), message, sha256).hexdigest()
    return {**told, "security": {"signature": signature, "signer_id": signer}}


HELLO = {"worker_id": "w1", "supported_skills": [{"name": "echo"}]}
SIGNATURE, REPLAY, IDENTITY = "signature_invalid", "security_replay_detected", "security_identity_mismatch"
UNTIMED = {"worker_id": "w1", "security": {"signature": "00"}}
# Made when they are sent: a signature is good for a minute.
REFUSED: list[tuple[Callable[[], dict[str, Any]], str, str]] = [
    (lambda: HELLO, "Missing required security context", SIGNATURE),
    (lambda: UNTIMED, "Missing required timestamp for replay protection", REPLAY),
    (lambda: signed(HELLO, age=90), "Message timestamp expired (replay protection)", REPLAY),
    (lambda: signed(HELLO, age=-90), "Message timestamp expired (replay protection)", REPLAY),
    (lambda: signed(HELLO, signer="w2"), "Immediate sender ID mismatch", IDENTITY),
    (lambda: signed(HELLO, key="another"), "Invalid cryptographic signature", SIGNATURE),
    (lambda: {**signed(HELLO), "worker_type": "x"}, "Invalid cryptographic signature", SIGNATURE),
]


async def counted(world: World, name: str) -> float:
    page = (await world.http.get("/_public/metrics")).text
    (line,) = [line for line in page.splitlines() if line.startswith(f"orchestrator_{name}_total ")]
    return float(line.rpartition(" ")[2])


@pytest.mark.parametrize(("message", "text", "metric"), REFUSED)
async def test_a_message_that_proves_nothing_is_refused_and_counted(
    system: System, tmp_path: Path, message: Callable[[], dict[str, Any]], text: str, metric: str
) -> None:
    async with World(system, tmp_path, tmp_path) as world:
        before = await counted(world, metric)
        answer = await world.stranger("w1").post("/_worker/workers/register", message())
        assert (answer.status_code, answer.json()) == (403, {"error": text})
        assert await counted(world, metric) == before + 1


async def test_a_signed_message_is_taken(system: System, tmp_path: Path) -> None:
    async with World(system, tmp_path, tmp_path) as world:
        answer = await world.stranger("w1").post("/_worker/workers/register", signed(HELLO))
        assert (answer.status_code, answer.json()["status"]) == (200, "registered")


async def test_everything_that_the_sdk_sends_is_signed_well(system: System, tmp_path: Path) -> None:
    async with World(system, tmp_path, tmp_path) as world:
        with sdk_worker(system.http, WORKER_TOKEN, world.log, "signing-sdk"):
            job = await world.submit("tell", {"mark": 3})
            assert (await world.ended(job))["status"] == "succeeded"
            assert [event["payload"] for event in await world.events(job, "EventEmitted")] == [{"mark": 3}]


async def test_the_sdk_takes_only_tasks_that_are_signed_with_its_key(system: System, tmp_path: Path) -> None:
    given = {"text": "schön", "nothing": None, "whole": 2.0, "part": 0.1, "deep": [{"b": 1, "a": {}}]}
    async with World(system, tmp_path, tmp_path) as world:
        other, wrong = tmp_path / "other.log", {"ORCHESTRATOR_SECRET_KEY": "another"}
        with sdk_worker(system.http, WORKER_TOKEN, other, "wrong-key", **wrong):
            job = await world.submit("echo", given)
            async with asyncio.timeout(30):
                while b"signature verification failed" not in other.with_suffix(".out").read_bytes():
                    await asyncio.sleep(0.05)
            assert not other.exists()
            await world.cancel(job)
        key = {"ORCHESTRATOR_SECRET_KEY": TASK_KEY}
        with sdk_worker(system.http, WORKER_TOKEN, world.log, "right-key", **key):
            for urgency in (500, 525, 900):
                done = await world.run("echo", given, urgency=urgency, metadata={"tag": 1.5})
                assert done["status"] == "succeeded", done
