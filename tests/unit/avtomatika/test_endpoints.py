"""Which endpoints a workflow may have."""

import asyncio
from typing import Any

import pytest

from shared.application.clock import utc_now
from shared.application.definitions import Definitions
from shared.application.endpoint_names import check_endpoint
from shared.application.endpoints import Endpoints
from shared.application.publish_workflow import PublishWorkflow
from shared.domain.errors import InvalidGraph
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.memory import MemoryJournal

NODES: dict[str, Any] = {"nodes": {"a": {"kind": "task", "skill": "s"}}, "edges": []}


@pytest.mark.parametrize("endpoint", ["jobs/flow", "orders", "orders/new/fast", "/jobs/a-b_c.d~"])
def test_what_belongs_to_nobody_is_free(endpoint: str) -> None:
    check_endpoint({"meta": {"api_version": "v1", "api_endpoint": endpoint}})


@pytest.mark.parametrize(
    ("version", "endpoint"),
    [
        ("v1", "jobs"),
        ("v1", "jobs/claim"),
        ("v1", "jobs/x/cancel"),
        ("v1", "workflows"),
        ("v1", "tasks/submit"),
        ("v1", "schedules"),
        ("v1", "auth/login"),
        ("v1", "workers/mine"),
        (None, "workflow/x"),
        (None, "v1/jobs/flow"),
        ("one", "jobs/flow"),
        ("v1", "a b"),
        ("v1", "a//b"),
        ("v1", "{x}"),
        ("v1", "a/../b"),
        ("v1-beta", "jobs/flow"),
    ],
)
def test_another_route_s_path_is_refused(version: str | None, endpoint: str) -> None:
    with pytest.raises(InvalidGraph):
        check_endpoint({"meta": {"api_version": version, "api_endpoint": endpoint}})


async def test_a_workflow_that_moves_leaves_its_old_endpoint() -> None:
    journal = MemoryJournal(EVENTS, AGGREGATES)
    endpoints, publish = Endpoints(journal), PublishWorkflow(journal, Definitions(journal), utc_now)
    following = asyncio.create_task(endpoints.run())
    try:
        await publish("t", "w", {**NODES, "meta": {"api_version": "v1", "api_endpoint": "a"}}, "x")
        assert await endpoints.find("t", "v1", "/a/") == "w"
        assert await endpoints.find("other", "v1", "a") is None
        await publish("t", "w", {**NODES, "meta": {"api_version": "v2", "api_endpoint": "a"}}, "x")
        assert await endpoints.find("t", "v2", "a") == "w"
        assert await endpoints.find("t", "v1", "a") is None
        assert endpoints.of("t") == [("v2", "a", "w")]
        with pytest.raises(InvalidGraph, match="reserved"):
            await publish("t", "w", {**NODES, "meta": {"api_version": "v1", "api_endpoint": "tasks"}}, "x")
    finally:
        following.cancel()
        await asyncio.wait({following})
