"""The worker aggregate."""

from typing import Any

import pytest

from shared.domain.errors import IllegalTransition, InvalidValue
from shared.domain.worker import Worker, worker_id
from tests.unit.domain.given import NOON


def happened(worker: Worker) -> list[str]:
    return [type(event).__name__ for event in worker.collect_events()]


def registered() -> Worker:
    worker = Worker.named("w1", NOON)
    worker.register(now=NOON, skills=["resize"], concurrency=2, labels={"net": "lan"}, instance="i1")
    return worker


def test_a_worker_is_known_by_its_name() -> None:
    assert worker_id("w1") == Worker.named("w1", NOON).id
    for name in ("", "x" * 201):
        with pytest.raises(InvalidValue):
            Worker.named(name, NOON)


def test_the_same_hello_again_is_no_event() -> None:
    worker = registered()
    worker.register(now=NOON, skills=["resize"], concurrency=2, labels={"net": "lan"}, instance="i1")
    assert happened(worker) == ["WorkerRegistered"]
    assert (worker.status, worker.skills, worker.concurrency) == ("online", ["resize"], 2)


def test_a_hello_of_another_process_is_a_registration() -> None:
    worker = registered()
    worker.register(now=NOON, skills=["resize"], concurrency=2, labels={"net": "lan"}, instance="i2")
    assert happened(worker) == ["WorkerRegistered", "WorkerRegistered"]


def test_a_process_that_can_do_something_else_has_changed() -> None:
    worker = registered()
    worker.register(now=NOON, skills=["resize", "crop"], instance="i1")
    assert happened(worker) == ["WorkerRegistered", "WorkerChanged"]
    assert (worker.skills, worker.concurrency, worker.labels, worker.instance) == (
        ["resize", "crop"],
        1,
        {},
        "i1",
    )


@pytest.mark.parametrize(("skills", "concurrency"), [([], 1), ([""], 1), (["resize"], 0)])
def test_a_hello_that_means_nothing_is_refused(skills: list[str], concurrency: int) -> None:
    worker = Worker.named("w1", NOON)
    with pytest.raises(InvalidValue):
        worker.register(now=NOON, skills=skills, concurrency=concurrency)
    assert happened(worker) == []


def test_a_worker_drains_leaves_and_comes_back() -> None:
    worker = registered()
    worker.drain(now=NOON)
    worker.drain(now=NOON)
    assert worker.is_here
    worker.leave(now=NOON)
    worker.leave(now=NOON)
    worker.lose(now=NOON)
    with pytest.raises(IllegalTransition):
        worker.drain(now=NOON)
    worker.register(now=NOON, skills=["resize"], instance="i1")
    assert happened(worker) == [
        "WorkerRegistered",
        "WorkerDraining",
        "WorkerLeft",
        "WorkerRegistered",
    ]


def test_a_silent_worker_is_lost_once() -> None:
    worker = registered()
    worker.lose(now=NOON)
    worker.lose(now=NOON)
    worker.leave(now=NOON)
    assert happened(worker) == ["WorkerRegistered", "WorkerLost"]


def test_the_events_fold_to_the_same_worker() -> None:
    worker = registered()
    worker.register(now=NOON, skills=["crop"], instance="i1")
    worker.drain(now=NOON)
    worker.lose(now=NOON)
    folded: Any = None
    for event in worker.collect_events():
        folded = event.mutate(folded)
    assert folded == worker
