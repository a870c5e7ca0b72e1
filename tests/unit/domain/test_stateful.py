"""The aggregates under random commands."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from shared.domain.errors import DomainError
from shared.domain.graph import content_hash
from shared.domain.values import Json
from shared.domain.worker import Worker
from shared.domain.workflow import Workflow
from tests.unit.domain.given import NOON, task
from tests.unit.domain.machine import JobMachine

DOCUMENTS: list[dict[str, Json]] = [{"nodes": {"a": task(skill)}, "edges": []} for skill in "xyz"]
ANY_MACHINE: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
OFTEN = settings(max_examples=120, stateful_step_count=25, **ANY_MACHINE)
SELDOM = settings(max_examples=40, stateful_step_count=20, **ANY_MACHINE)


def test_a_job_keeps_its_promises_under_random_commands() -> None:
    run_state_machine_as_test(JobMachine, settings=OFTEN)


class Folded(RuleBasedStateMachine):
    """An aggregate beside the fold of its events."""

    aggregate: Any

    def __init__(self) -> None:
        super().__init__()
        self.shadow: Any = None
        self.seconds = 0

    def happened(self) -> Sequence[Any]:
        events: Sequence[Any] = self.aggregate.collect_events()
        for event in events:
            self.shadow = event.mutate(self.shadow)
        return events

    @invariant()
    def the_events_fold_to_the_state(self) -> None:
        if self.shadow is not None:
            assert vars(self.shadow) == vars(self.aggregate) | {"_created_on": self.shadow.created_on}


class WorkflowMachine(Folded):
    def __init__(self) -> None:
        super().__init__()
        self.aggregate: Workflow = Workflow.named("acme", "resize", NOON)
        self.published: list[str] = []

    @rule(document=st.sampled_from(DOCUMENTS))
    def publish(self, document: dict[str, Json]) -> None:
        same = not self.aggregate.is_deleted and self.published[-1:] == [content_hash(document)]
        self.aggregate.publish(document, now=NOON)
        assert len(self.happened()) == (0 if same else 1)
        if not same:
            self.published.append(content_hash(document))
        self.aggregate.publish(document, now=NOON)
        assert not self.happened()

    @rule(document=st.sampled_from([{}, {"nodes": {"a": {"kind": "nap"}}}]))
    def refuse(self, document: dict[str, Json]) -> None:
        try:
            self.aggregate.publish(document, now=NOON)
        except DomainError:
            assert not self.happened()
        else:
            raise AssertionError("that cannot run")

    @rule()
    def delete(self) -> None:
        if self.published:
            self.aggregate.delete(now=NOON)
            self.happened()
            self.aggregate.delete(now=NOON)
            assert not self.happened()

    @invariant()
    def versions_are_for_ever_and_without_gaps(self) -> None:
        assert [version.definition for version in self.aggregate.versions] == self.published
        assert [version.version for version in self.aggregate.versions] == list(
            range(1, len(self.published) + 1)
        )


class WorkerMachine(Folded):
    def __init__(self) -> None:
        super().__init__()
        self.aggregate: Worker = Worker.named("w1", NOON)

    @rule(
        skills=st.sampled_from([["a"], ["a", "b"]]),
        concurrency=st.integers(0, 2),
        instance=st.sampled_from("ij"),
    )
    def hello(self, skills: list[str], concurrency: int, instance: str) -> None:
        now = NOON + timedelta(seconds=self.seconds)
        try:
            self.aggregate.register(now=now, skills=skills, concurrency=concurrency, instance=instance)
        except DomainError:
            assert concurrency == 0
            assert not self.happened()
            return
        self.happened()
        assert self.aggregate.is_here
        assert (self.aggregate.skills, self.aggregate.instance) == (skills, instance)
        self.aggregate.register(now=now, skills=skills, concurrency=concurrency, instance=instance)
        assert not self.happened()

    @rule(how=st.sampled_from(["drain", "leave", "lose"]))
    def go(self, how: str) -> None:
        here = self.aggregate.is_here
        for again in (False, True):
            try:
                getattr(self.aggregate, how)(now=NOON)
            except DomainError:
                assert how == "drain"
                assert not here
            assert len(self.happened()) <= (here and not again)
        assert self.aggregate.is_here == (here and how == "drain")


def test_a_workflow_keeps_its_versions_under_random_commands() -> None:
    run_state_machine_as_test(WorkflowMachine, settings=SELDOM)


def test_a_worker_is_here_or_gone_under_random_commands() -> None:
    run_state_machine_as_test(WorkerMachine, settings=SELDOM)
