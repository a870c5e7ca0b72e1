"""The workflow aggregate."""

from typing import Any

import pytest

from shared.domain.errors import InvalidGraph, NotThere
from shared.domain.values import Json
from shared.domain.workflow import Workflow, workflow_id
from tests.unit.domain.given import NOON, task

ONE: dict[str, Json] = {"nodes": {"a": task("one")}, "edges": []}
TWO: dict[str, Json] = {"nodes": {"a": task("two")}, "edges": []}


def happened(workflow: Workflow) -> list[str]:
    return [type(event).__name__ for event in workflow.collect_events()]


def test_a_workflow_has_one_id_for_each_tenant_and_name() -> None:
    assert workflow_id("acme", "resize") == Workflow.named("acme", "resize", NOON).id
    assert workflow_id("acme", "resize") != workflow_id("other", "resize")


def test_a_new_graph_is_a_new_version_and_the_same_one_is_none() -> None:
    workflow = Workflow.named("acme", "resize", NOON)
    first = workflow.publish(ONE, now=NOON, origin="canvas", source="<xml/>")
    assert workflow.publish(dict(reversed(ONE.items())), now=NOON) is first
    second = workflow.publish(TWO, now=NOON)
    assert happened(workflow) == ["WorkflowPublished", "WorkflowPublished"]
    assert (first.version, second.version, workflow.newest) == (1, 2, second)
    assert (first.origin, first.source, first.document) == ("canvas", "<xml/>", ONE)
    assert first.graph.hash == first.definition
    assert first.graph is first.graph


def test_an_old_graph_again_is_a_new_version() -> None:
    workflow = Workflow.named("", "resize", NOON)
    for document in (ONE, TWO, ONE):
        workflow.publish(document, now=NOON)
    assert [version.version for version in workflow.versions] == [1, 2, 3]
    assert workflow.versions[0].definition == workflow.versions[2].definition


def test_versions_are_found_by_number() -> None:
    workflow = Workflow.named("", "resize", NOON)
    first = workflow.publish(ONE, now=NOON)
    assert workflow.get(1) is first
    assert workflow.get(0) is None
    assert workflow.get(2) is None


def test_a_graph_that_cannot_run_is_not_published() -> None:
    workflow = Workflow.named("", "resize", NOON)
    with pytest.raises(InvalidGraph):
        workflow.publish({"nodes": {}}, now=NOON)
    assert happened(workflow) == []
    with pytest.raises(NotThere):
        workflow.newest  # noqa: B018 (it raises)


def test_a_deleted_workflow_has_no_newest_version_but_keeps_the_old_ones() -> None:
    workflow = Workflow.named("", "resize", NOON)
    with pytest.raises(NotThere):
        workflow.delete(now=NOON)
    workflow.publish(ONE, now=NOON)
    workflow.delete(now=NOON, by="client:a")
    workflow.delete(now=NOON, by="client:a")
    assert happened(workflow) == ["WorkflowPublished", "WorkflowDeleted"]
    with pytest.raises(NotThere):
        workflow.newest  # noqa: B018 (it raises)
    assert workflow.get(1) is not None


def test_publishing_brings_a_deleted_workflow_back_with_the_next_number() -> None:
    workflow = Workflow.named("", "resize", NOON)
    workflow.publish(ONE, now=NOON)
    workflow.delete(now=NOON)
    assert workflow.publish(ONE, now=NOON).version == 2
    assert not workflow.is_deleted


def test_the_events_fold_to_the_same_workflow() -> None:
    workflow = Workflow.named("acme", "resize", NOON)
    workflow.publish(ONE, now=NOON)
    workflow.delete(now=NOON)
    workflow.publish(TWO, now=NOON)
    folded: Any = None
    for event in workflow.collect_events():
        folded = event.mutate(folded)
    assert folded == workflow
