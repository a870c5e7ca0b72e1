"""Tasks in, results out: the worker against a real server and a dispatcher of the test."""

import asyncio
import threading
import time
from typing import Any

import pytest

from daybook import Result, TaskContext
from daybook.errors import InvalidInput, PermanentError, TransientError
from tests.contract.worker.conftest import serving, worker_of
from tests.contract.worker.fake_dispatcher import FakeDispatcher

pytestmark = pytest.mark.connected


async def test_a_task_is_run_and_its_output_reported_and_acked(dispatcher: FakeDispatcher) -> None:
    worker = worker_of(dispatcher.server)

    @worker.skill("double")
    async def double(given: dict[str, Any]) -> dict[str, Any]:
        return {"x": given["x"] * 2}

    async with serving(worker):
        job = await dispatcher.release("double", {"x": 21})
        (result,) = await dispatcher.results(1)
        await dispatcher.all_acked("double")
    assert result["job"] == str(job)
    assert result["worker"] == "w1"
    assert (result["task"], result["attempt"]) == (1, 1)
    assert (result["outcome"], result["output"]) == ("succeeded", {"x": 42})
    assert dispatcher.of_kind("claim") == []
