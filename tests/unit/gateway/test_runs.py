"""What workers hold is kept while they show themselves, and let go when they do not."""

import asyncio

import pytest

from services.api.gateway.tasks import Run
from shared.broker.errors import NoAnswer
from tests.unit.gateway.desk import Inside, given, key, settle


async def running(inside: Inside, keep: float | None = None) -> tuple[Run, str]:
    """A task in the hands of w1, and where its delivery is answered."""
    member = inside.join("w1", "echo")
    member.beats = keep is None
    poll = inside.poll("w1", "echo")
    ack = inside.deliver()
    inside.reports.asked.pop().grant(inside.lease)
    await settle()
    assert given(poll).lease_seconds == inside.lease
    run = inside.runs.get(key())
    assert run is not None
    return run, ack


async def test_a_delivery_is_kept_in_progress_while_its_lease_lasts() -> None:
    inside = Inside()
    _, ack = await running(inside)
    inside.runs.tick(inside.later(4))
    assert inside.words(ack) == []
    inside.runs.tick(inside.later(6))
    assert inside.words(ack) == [b"+WPI"]


async def test_a_lease_is_renewed_at_half_time_if_the_worker_showed_itself() -> None:
    inside = Inside()
    run, _ = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(29))
    assert inside.reports.asked == []
    inside.runs.tick(inside.later(31))
    (renewal,) = inside.reports.asked
    assert renewal.kind == "renew"
    inside.runs.tick(inside.later(32))
    assert len(inside.reports.asked) == 1  # one at a time


async def test_a_lease_of_a_silent_worker_is_not_renewed_and_the_task_is_let_go() -> None:
    inside = Inside()
    run, ack = await running(inside)
    inside.runs.tick(inside.later(31))
    assert inside.reports.asked == []
    inside.runs.tick(inside.later(61))
    assert inside.runs.get(run.key) is None
    assert inside.words(ack) == [b"+WPI"]  # not acked: the queue delivers it again


async def test_a_worker_that_never_beats_keeps_its_task_up_to_a_limit() -> None:
    inside = Inside(beatless=300)
    await running(inside, keep=300)
    inside.runs.tick(inside.later(31))
    assert [asked.kind for asked in inside.reports.asked] == ["renew"]
    inside.runs.tick(inside.later(299))
    assert inside.runs.get(key()) is not None
    inside.runs.tick(inside.later(301))
    assert inside.runs.get(key()) is None


async def test_a_renewal_without_an_answer_is_asked_again() -> None:
    inside = Inside()
    run, _ = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(31))
    inside.reports.asked[0].fail(NoAnswer("silence"))
    await settle()
    inside.runs.tick(inside.later(40))
    assert len(inside.reports.asked) == 2


@pytest.mark.parametrize("reason", ["cancelled", "late", "foreign"])
async def test_a_renewal_that_is_ignored_stops_the_work_and_acks_the_delivery(reason: str) -> None:
    inside = Inside()
    run, ack = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(31))
    inside.reports.asked[0].answer(verdict="ignored", reason=reason)
    await settle()
    assert run.cancelled
    assert inside.stopped == [key()]
    assert inside.words(ack)[-1] == b"+ACK"


async def test_of_progress_that_comes_faster_than_it_is_stored_the_last_counts() -> None:
    inside = Inside()
    run, _ = await running(inside)
    for step in (1, 2, 3):
        inside.runs.progressed(run, step / 4, f"step {step}")
    assert [asked.more["progress"] for asked in inside.reports.asked] == [0.25]
    inside.reports.asked[0].answer(verdict="accepted")
    await settle()
    assert [asked.more["message"] for asked in inside.reports.asked] == ["step 1", "step 3"]


async def test_cancelling_is_told_once_and_remembered_for_a_while() -> None:
    inside = Inside()
    run, ack = await running(inside)
    inside.runs.cancel(key())
    inside.runs.cancel(key())
    assert inside.stopped == [key()]
    assert inside.words(ack) == [b"+ACK"]
    again = inside.deliver(delivered=2)
    assert inside.words(again) == [b"+ACK"]
    inside.runs.tick(inside.later(599))
    assert inside.runs.get(run.key) is run
    inside.runs.tick(inside.later(601))
    assert inside.runs.get(run.key) is None


async def test_a_task_that_a_worker_says_it_holds_is_asked_about_at_once() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    run = inside.runs.adopt(key(3, 2), "w1")
    (renewal,) = inside.reports.asked
    assert (renewal.kind, renewal.key, renewal.worker) == ("renew", key(3, 2), "w1")
    renewal.answer(verdict="ignored", reason="stale")
    await settle()
    assert run.cancelled


async def test_a_task_of_a_job_that_nobody_knows_is_left_alone_and_asked_about_again_later() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    run = inside.runs.adopt(key(), "w1")
    inside.reports.asked.pop().answer(verdict="ignored", reason="unknown_job")
    await settle()
    assert not run.cancelled
    assert inside.runs.get(key()) is None
    assert inside.runs.is_strange(key())
    inside.runs.tick(inside.later(14))
    assert inside.runs.is_strange(key())
    inside.runs.tick(inside.later(16))
    assert not inside.runs.is_strange(key())


@pytest.mark.parametrize("answer", [{"error": "the journal is away"}, {}])
async def test_an_answer_that_is_no_verdict_takes_the_task_from_nobody(answer: dict[str, str]) -> None:
    inside = Inside()
    inside.join("w1", "echo")
    run = inside.runs.adopt(key(), "w1")
    inside.reports.asked[0].answer(**answer)
    await settle()
    assert not run.cancelled
    inside.runs.tick(inside.later(1))
    assert len(inside.reports.asked) == 1, "not at once"
    inside.runs.heard(run)
    inside.runs.tick(inside.later(6))
    assert [asked.kind for asked in inside.reports.asked] == ["renew", "renew"]


async def test_what_was_delivered_goes_on_though_who_answers_does_not_know_its_job_yet() -> None:
    inside = Inside()
    run, ack = await running(inside)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(31))
    inside.reports.asked[0].answer(verdict="ignored", reason="unknown_job")
    await settle()
    assert not run.cancelled
    assert inside.stopped == []
    assert b"+ACK" not in inside.words(ack)
    inside.runs.heard(run)
    inside.runs.tick(inside.later(37))
    assert [asked.kind for asked in inside.reports.asked] == ["renew", "renew"]


async def test_deliveries_that_are_done_with_are_answered_together() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    acks = []
    for number in (1, 2):
        poll = inside.poll("w1", "echo")
        acks.append(inside.deliver(number))
        inside.reports.asked[-1].grant()
        await settle()
        assert given(poll).task.key == key(number)
        inside.runs.settled(inside.runs.get(key(number)))  # type: ignore[arg-type]  # it is there
    assert inside.sent == []
    async with asyncio.timeout(30):
        while len(inside.sent) < 2:
            await asyncio.sleep(0.01)
    assert inside.sent == [(ack, b"+ACK") for ack in acks]
