"""A task is released anew while a worker has it: the delivery is not acked for the one that came before."""

import pytest

from services.api.gateway.polls import Poll
from services.api.gateway.tasks import Run, Task
from tests.unit.gateway.desk import Inside, given, key, settle
from tests.unit.gateway.test_runs import running

NEWER = 7


async def contended(inside: Inside) -> tuple[Run, str, str]:
    """w1 has the task of one release, and another release of it comes: both deliveries."""
    run, ack = await running(inside)
    return run, ack, inside.deliver(release=NEWER)


async def claimed_anew(inside: Inside, poll: Poll, ack: str) -> None:
    """Another worker gets the task that came with this delivery, and its end acks it."""
    claim = inside.reports.asked[-1]
    assert (claim.kind, claim.key, claim.worker) == ("claim", key(), poll.worker)
    assert b"+ACK" not in inside.words(ack)
    claim.grant()
    await settle()
    assert given(poll).task.ack == ack
    run = inside.runs.get(key())
    assert run is not None
    assert run.worker == poll.worker
    inside.runs.settled(run)
    inside.runs.acknowledge()
    assert inside.words(ack)[-1] == b"+ACK"


async def test_it_waits_for_a_renewal_and_is_nobody_elses_meanwhile() -> None:
    inside = Inside()
    run, ack, anew = await contended(inside)
    inside.join("w2", "echo")
    inside.poll("w2", "echo")
    assert inside.reports.asked == []  # w1 has not shown itself since it got the task
    assert inside.words(anew) == [b"+WPI"]
    inside.runs.heard(run)
    assert [asked.kind for asked in inside.reports.asked] == ["renew"]
    inside.runs.tick(inside.later(6))
    assert [inside.words(delivery)[-1] for delivery in (ack, anew)] == [b"+WPI", b"+WPI"]


@pytest.mark.parametrize("reason", ["stale", "cancelled"])
async def test_it_goes_to_another_worker_when_the_renewal_is_refused(reason: str) -> None:
    inside = Inside()
    run, ack, anew = await contended(inside)
    inside.join("w2", "echo")
    poll = inside.poll("w2", "echo")
    inside.runs.heard(run)
    inside.reports.asked[-1].answer(verdict="ignored", reason=reason)
    await settle()
    assert inside.stopped == [key()]
    assert inside.words(ack)[-1] == b"+ACK"
    await claimed_anew(inside, poll, anew)


async def test_it_goes_to_another_worker_when_the_first_is_lost() -> None:
    inside = Inside()
    _, ack, anew = await contended(inside)
    inside.join("w2", "echo")
    poll = inside.poll("w2", "echo")
    inside.runs.tick(inside.later(61))
    assert inside.words(ack)[-1] == b"+WPI"
    await claimed_anew(inside, poll, anew)


async def test_it_is_asked_about_when_the_first_worker_has_reported() -> None:
    inside = Inside()
    run, ack, anew = await contended(inside)
    inside.poll("w1", "echo")
    inside.runs.settled(run)
    inside.runs.acknowledge()
    assert inside.words(ack)[-1] == b"+ACK"
    claim = inside.reports.asked[-1]
    assert claim.kind == "claim"
    claim.answer(verdict="refused", reason="finished")
    await settle()
    assert inside.words(anew) == [b"+WPI", b"+ACK"]


async def test_it_is_the_delivery_of_the_worker_whose_renewal_is_granted() -> None:
    inside = Inside()
    run, ack, anew = await contended(inside)
    inside.runs.heard(run)
    inside.reports.asked[-1].answer(verdict="accepted")
    await settle()
    assert inside.words(ack)[-1] == b"+ACK"
    inside.runs.settled(run)
    inside.runs.acknowledge()
    assert inside.words(anew)[-1] == b"+ACK"


async def test_a_renewal_from_before_it_came_says_nothing_of_it() -> None:
    inside = Inside()
    run, _ = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(31))
    (before,) = inside.reports.asked
    anew = inside.deliver(release=NEWER)
    before.answer(verdict="accepted")
    await settle()
    assert run.ack != anew
    inside.runs.heard(run)
    assert len(inside.reports.asked) == 2
    inside.reports.asked[-1].answer(verdict="accepted")
    await settle()
    assert run.ack == anew


async def test_what_was_taken_from_a_worker_may_come_to_it_again() -> None:
    inside = Inside()
    run, _ = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(31))
    inside.reports.asked[-1].answer(verdict="ignored", reason="stale")
    await settle()
    poll = inside.poll("w1", "echo")
    await claimed_anew(inside, poll, inside.deliver(release=NEWER))


async def test_a_release_from_before_that_of_the_worker_is_done_with() -> None:
    inside = Inside()
    inside.join("w1", "echo").beats = True
    poll = inside.poll("w1", "echo")
    inside.deliver(release=NEWER)
    inside.reports.asked[-1].grant()
    await settle()
    assert given(poll).task.release == NEWER
    old = inside.deliver(delivered=2, release=3)
    assert inside.words(old) == [b"+ACK"]
    assert len(inside.reports.asked) == 1


async def test_a_delivery_of_a_task_that_a_worker_said_it_holds_waits_for_a_renewal() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    run = inside.runs.adopt(key(), "w1")
    inside.reports.asked[0].answer(verdict="accepted")
    await settle()
    ack = inside.deliver(delivered=2)
    inside.runs.heard(run)
    inside.reports.asked[-1].answer(verdict="accepted")
    await settle()
    inside.runs.settled(run)
    inside.runs.acknowledge()
    assert inside.words(ack)[-1] == b"+ACK"
    assert [asked.kind for asked in inside.reports.asked] == ["renew", "renew"]


async def test_a_worker_is_not_busy_with_what_another_was_given() -> None:
    inside = Inside()
    run, _, anew = await contended(inside)
    ended: list[str] = []
    inside.runs.on_end = lambda run: ended.append(run.worker)
    inside.join("w2", "echo")
    task = Task(key().job, {"task": key().task, "skill": "echo"})
    taken = inside.runs.begin(task, "w2", lease=10.0, keep=0.0)
    assert ended == ["w1"]
    assert inside.runs.get(run.key) is taken
    assert taken.contender is not None
    assert taken.contender.ack == anew
