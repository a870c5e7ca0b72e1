"""Jobs of every shape come out of their snapshots as they went in, and go on from there as if nothing was."""

import asyncio
import inspect
from collections.abc import Coroutine
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from shared.application.ports import Decision, Recorded
from shared.domain.job import Job
from shared.domain.job.events import JobEvent
from shared.domain.job.state import Activation, JobState, Task
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.job_states import COVERED, FOLDING, WAYS, JobStates
from shared.journal.memory import MemoryJournal
from shared.journal.snapshots import Kind, MemorySnapshots, Snapshots
from tests.replay.record import CODEC
from tests.replay.test_histories import FILES, read
from tests.unit.domain.given import ID
from tests.unit.domain.machine import JobMachine

R = TypeVar("R")


def jobs_in(store: MemorySnapshots) -> Snapshots:
    return Snapshots(store, {Job: Kind("job", JobStates())}, first_commits=0)


def run(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    raise AssertionError("it waits")


def parts(job: Job) -> dict[str, Any]:
    """All that a job is, the order of what is live included."""
    state = dict(vars(job))
    spec = vars(state["spec"])
    own = [field.name for field in fields(job.spec)]
    state["spec"] = {name: spec.get(name, getattr(job.spec, name)) for name in own}
    state["live_order"] = [list(job.live_tasks), list(job.activations)]
    assert all(job.tasks[number] is task for number, task in job.live_tasks.items())
    return state


class SnapshotMachine(JobMachine):
    """After each move the job is stored, and loaded with a snapshot of some time and without."""

    runner: ClassVar[asyncio.Runner]

    def __init__(self) -> None:
        super().__init__()
        self.store = MemorySnapshots()
        self.with_snapshots = MemoryJournal(EVENTS, AGGREGATES, jobs_in(self.store))
        self.without = MemoryJournal(EVENTS, AGGREGATES)
        self.tip: bytes | None = None
        self.sequence = 0
        self.moves = 0

    def collect(self) -> list[JobEvent]:
        new = super().collect()
        if new:
            decision = Decision("job", ID, new, "test", self.tip)
            self.runner.run(self.without.append(decision))
            appended = self.runner.run(self.with_snapshots.append(decision))
            self.tip, self.sequence = appended.tip, appended.sequence
        return new

    @invariant()
    def a_load_with_a_snapshot_is_a_load_without(self) -> None:
        if self.tip is None:
            return
        self.moves += 1
        plain, quick = (run(journal.load(Job, ID)) for journal in (self.without, self.with_snapshots))
        assert plain is not None
        assert quick is not None
        assert parts(quick.aggregate) == parts(plain.aggregate)
        assert (quick.sequence, quick.tip) == (plain.sequence, plain.tip)
        assert quick.aggregate.outstanding() == plain.aggregate.outstanding()
        if self.moves % 4 == 0:
            snapshots = self.with_snapshots.snapshots
            assert snapshots is not None
            taken = snapshots.take(Recorded(self.job, self.sequence, self.tip))
            run(self.store.put({(taken.kind, taken.id): taken.packed()}))

    def teardown(self) -> None:
        super().teardown()
        counts = self.with_snapshots.snapshots.counts  # type: ignore[union-attr]
        assert set(counts) <= {"used", "none"}
        assert counts["used"] >= self.moves - 4, "each load after the first snapshot goes from one"


def test_a_load_with_a_snapshot_equals_a_load_without_for_any_history() -> None:
    machine = settings(
        max_examples=80,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with asyncio.Runner() as SnapshotMachine.runner:
        run_state_machine_as_test(SnapshotMachine, settings=machine)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_histories_go_on_from_a_snapshot_at_any_commit(path: Path) -> None:
    history, commits = read(path)
    if history["kind"] != "job":
        return
    snapshots = jobs_in(MemorySnapshots())
    whole = CODEC.fold(Job, commits)
    assert whole is not None
    for number in range(1, len(commits) + 1):
        job = CODEC.fold(Job, commits[:number])
        assert job is not None
        at = commits[number - 1]
        taken = snapshots.take(Recorded(job, at.sequence, at.digest))
        run(snapshots.store.put({("job", job.id): taken.packed()}))
        found = run(snapshots.find(Job, job.id))
        assert found is not None
        recorded = snapshots.proved(CODEC, found, at, commits[number:])
        assert recorded is not None
        assert parts(recorded.aggregate) == parts(whole)


def test_a_snapshot_shares_nothing_with_the_job_that_goes_on() -> None:
    _, commits = read(next(path for path in FILES if path.stem == "loop"))
    job = CODEC.fold(Job, commits[:1])
    assert job is not None
    before = parts(CODEC.fold(Job, commits[:1]))  # type: ignore[arg-type]
    snapshots = jobs_in(MemorySnapshots())
    taken = snapshots.take(Recorded(job, 1, commits[0].digest))
    CODEC.fold(Job, commits[1:], job)
    run(snapshots.store.put({("job", job.id): taken.packed()}))
    found = run(snapshots.find(Job, job.id))
    assert found is not None
    assert parts(found.aggregate) == before


def test_the_whole_state_of_a_job_is_written() -> None:
    assert set(JobState.__annotations__) == COVERED
    assert set(WAYS) == {Task, *get_args(Activation)}
    for cls, ways in WAYS.items():
        for field in fields(cls):
            named = str(field.type)
            if any(word in named for word in ("set[", "tuple[", "dict[int")):
                assert field.name in ways, f"{cls.__name__}.{field.name} is no JSON: {named}"


def test_every_module_that_folds_a_job_is_part_of_the_encoding() -> None:
    folding = {module.__name__ for module in FOLDING}
    events = {cls.__module__ for cls in EVENTS.values() if issubclass(cls, JobEvent)}
    state = {cls.__module__ for cls in (*WAYS, Job, JobState)}
    assert events | state <= folding


def test_other_code_is_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    today = JobStates().encoding
    assert JobStates().encoding == today
    source = inspect.getsource
    monkeypatch.setattr(
        inspect,
        "getsource",
        lambda module: source(module) + ("# more" if module is FOLDING[2] else ""),
    )
    assert JobStates().encoding != today
