import asyncio
from typing import Any

import pytest

from shared.application.clock import utc_now
from shared.application.collecting import collected
from shared.application.definitions import Definitions, UnknownWorkflow, forget_as_published
from shared.application.ports import Decision
from shared.application.publish_workflow import PublishWorkflow
from shared.domain.errors import InvalidGraph
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import Json
from shared.domain.workflow import Workflow, workflow_id
from shared.journal.memory import MemoryJournal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def graph(skill: str) -> dict[str, Json]:
    return {"nodes": {"n": {"kind": "task", "skill": skill}}, "edges": []}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal(EVENTS, AGGREGATES)


async def published_elsewhere(journal: MemoryJournal, skill: str) -> None:
    await PublishWorkflow(journal, Definitions(journal), utc_now)("a", "flow", graph(skill), "client:x")


async def test_what_another_process_published_is_seen_when_the_cached_is_old(journal: MemoryJournal) -> None:
    clock = Clock()
    definitions = Definitions(journal, max_age_seconds=5, monotonic=clock)
    with pytest.raises(UnknownWorkflow):
        await definitions.find("a", "flow", None, None)
    await published_elsewhere(journal, "one")
    assert (await definitions.find("a", "flow", None, None)).version == 1
    await published_elsewhere(journal, "two")
    clock.now = 4.9
    assert (await definitions.find("a", "flow", None, None)).version == 1
    clock.now = 5.0
    assert (await definitions.find("a", "flow", None, None)).version == 2


async def test_who_publishes_sees_it_at_once(journal: MemoryJournal) -> None:
    definitions = Definitions(journal, monotonic=Clock())
    publish = PublishWorkflow(journal, definitions, utc_now)
    for version, skill in enumerate(("one", "two"), 1):
        await publish("a", "flow", graph(skill), "client:x")
        assert (await definitions.find("a", "flow", None, None)).version == version


async def test_news_from_the_journal_are_seen_at_once(journal: MemoryJournal) -> None:
    definitions = Definitions(journal, monotonic=Clock())
    await published_elsewhere(journal, "one")
    following = asyncio.create_task(forget_as_published(journal, definitions))
    async with asyncio.timeout(30):
        while not journal._followers:
            await asyncio.sleep(0)
    assert (await definitions.find("a", "flow", None, None)).version == 1
    await published_elsewhere(journal, "two")
    async with asyncio.timeout(30):
        while (await definitions.find("a", "flow", None, None)).version != 2:
            await asyncio.sleep(0)
    following.cancel()


async def test_news_that_come_while_an_older_version_is_read_are_not_lost(journal: MemoryJournal) -> None:
    definitions, load = Definitions(journal, monotonic=Clock()), journal.load
    await published_elsewhere(journal, "one")

    async def overtaken(*asked: Any) -> Any:
        journal.load = load  # type: ignore[method-assign]
        recorded = await load(*asked)
        await published_elsewhere(journal, "two")
        definitions.forget(workflow_id("a", "flow"))
        return recorded

    journal.load = overtaken  # type: ignore[assignment,method-assign]
    assert (await definitions.find("a", "flow", None, None)).version == 1
    assert (await definitions.find("a", "flow", None, None)).version == 2


async def test_a_deleted_workflow_starts_nothing_but_keeps_its_versions(journal: MemoryJournal) -> None:
    await published_elsewhere(journal, "one")
    recorded = await journal.load(Workflow, workflow_id("a", "flow"))
    assert recorded is not None
    recorded.aggregate.delete(now=utc_now())
    events = collected(recorded.aggregate)
    await journal.append(Decision("workflow", recorded.aggregate.id, events, "x", recorded.tip))
    definitions = Definitions(journal)
    with pytest.raises(UnknownWorkflow):
        await definitions.find("a", "flow", None, None)
    assert (await definitions.find("a", "flow", 1, None)).version == 1
    await published_elsewhere(journal, "two")
    definitions.forget(workflow_id("a", "flow"))
    assert (await definitions.find("a", "flow", None, None)).version == 2


async def test_two_who_publish_at_once_both_succeed(journal: MemoryJournal) -> None:
    publish = PublishWorkflow(journal, Definitions(journal), utc_now)
    graphs = [graph(f"skill-{n}") for n in range(4)]
    published = await asyncio.gather(*(publish("a", "flow", document, "client:x") for document in graphs))
    assert sorted(p.version for p in published) == [1, 2, 3, 4]
    assert all(p.created for p in published)


async def test_an_expression_that_can_never_run_is_refused_by_its_node(journal: MemoryJournal) -> None:
    publish = PublishWorkflow(journal, Definitions(journal), utc_now)
    document: dict[str, Json] = {
        "nodes": {"pick": {"kind": "inline", "set": {"x": {"cel": "((("}}}},
        "edges": [],
    }
    with pytest.raises(InvalidGraph) as refused:
        await publish("a", "flow", document, "client:x")
    assert refused.value.problems[0].startswith("node 'pick':")
    assert journal.commits == []
