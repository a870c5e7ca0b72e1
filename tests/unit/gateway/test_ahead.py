"""Tasks that are claimed for a fast worker before it asks for them."""

import asyncio

import pytest

from services.api.gateway.ahead import AT_ONCE, FEWEST
from shared.broker.errors import NoAnswer
from tests.unit.gateway.desk import Asked, Inside, given, key, settle


async def fast(inside: Inside, name: str = "w1", *, tasks: int = 8) -> int:
    """The worker took so many tasks in a row; the number of the next one."""
    inside.join(name, "echo")
    for number in range(1, tasks + 1):
        poll = inside.poll(name, "echo")
        inside.deliver(number)
        inside.reports.asked[-1].grant()
        await settle()
        assert given(poll).task.key == key(number)
        inside.runs.settled(inside.runs.get(key(number)))  # type: ignore[arg-type]  # it is there
        inside.members[name].runs.clear()
    return tasks + 1


def returns(inside: Inside) -> list[Asked]:
    return [asked for asked in inside.reports.asked if asked.kind == "return"]


async def test_a_fast_worker_finds_its_next_task_claimed_when_it_asks() -> None:
    inside = Inside()
    number = await fast(inside)
    assert inside.wanted["echo"] > 0, "more is asked for than polls wait for"
    inside.deliver(number)
    claim = inside.reports.asked[-1]
    assert (claim.kind, claim.worker, claim.key) == ("claim", "w1", key(number))
    claim.grant()
    await settle()
    poll = inside.poll("w1", "echo")
    assert given(poll).task.key == key(number)
    assert returns(inside) == []


async def test_for_a_worker_that_is_not_fast_nothing_is_claimed_ahead() -> None:
    inside = Inside()
    number = await fast(inside, tasks=FEWEST - 1)
    inside.deliver(number)
    assert inside.reports.asked[-1].key != key(number)
    assert inside.wanted["echo"] <= 0


async def test_no_more_is_claimed_than_it_took_lately_nor_than_it_has_room_for() -> None:
    for concurrency, most in ((10, 5), (3, 3)):
        inside = Inside()
        number = await fast(inside, tasks=10)
        inside.members["w1"].concurrency = concurrency
        asked = len(inside.reports.asked)
        for more in range(20):
            inside.deliver(number + more)
        assert len(inside.reports.asked) - asked == most


async def test_a_poll_that_waits_comes_before_what_would_be_claimed_ahead() -> None:
    inside = Inside()
    number = await fast(inside)
    inside.join("w2", "echo")
    inside.poll("w2", "echo")
    inside.deliver(number)
    assert inside.reports.asked[-1].worker == "w2"


async def test_what_comes_again_or_must_be_quick_is_not_claimed_ahead() -> None:
    inside = Inside()
    number = await fast(inside)
    asked = len(inside.reports.asked)
    inside.deliver(number, delivered=2)
    inside.deliver(number + 1, run_timeout=5.0)
    assert len(inside.reports.asked) == asked
    inside.deliver(number + 2, run_timeout=300.0)
    assert len(inside.reports.asked) == asked + 1


async def test_what_waited_here_is_claimed_ahead_as_soon_as_there_is_room() -> None:
    inside = Inside()
    number = await fast(inside, tasks=FEWEST - 1)
    for more in range(3):
        inside.deliver(number + more)
    inside.poll("w1", "echo")
    inside.reports.asked[-1].grant()
    await settle()
    inside.poll("w1", "echo")
    assert [asked.key for asked in inside.reports.asked[-3:]] == [
        key(number),
        key(number + 1),
        key(number + 2),
    ]


async def test_what_a_worker_does_not_fetch_is_given_back_and_is_released_anew() -> None:
    inside = Inside()
    number = await fast(inside)
    ack = inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    inside.hands.tick(inside.later(0.5))
    assert returns(inside) == []
    inside.hands.tick(inside.later(1.5))
    (back,) = returns(inside)
    assert (back.worker, back.key) == ("w1", key(number))
    assert inside.words(ack) == [], "before the dispatcher knows, another claim would be refused"
    inside.join("w2", "echo")
    inside.poll("w2", "echo")
    anew = inside.deliver(number, release=number + 100)
    assert inside.reports.asked[-1] is back, "it may come before the answer"
    back.answer(verdict="accepted")
    await settle()
    assert inside.words(ack)[-1] == b"+ACK"
    claim = inside.reports.asked[-1]
    assert (claim.kind, claim.key, claim.worker) == ("claim", key(number), "w2")
    assert b"+ACK" not in inside.words(anew)


async def test_a_worker_that_leaves_has_nothing_kept_for_it_and_a_late_grant_goes_back_too() -> None:
    inside = Inside()
    number = await fast(inside)
    inside.deliver(number)
    first = inside.reports.asked[-1]
    inside.deliver(number + 1)
    late = inside.reports.asked[-1]
    first.grant()
    await settle()
    inside.members["w1"].has_left = True
    inside.hands.ahead.give_up("w1")
    late.grant()
    await settle()
    assert [back.key for back in returns(inside)] == [key(number), key(number + 1)]


async def test_a_task_whose_skill_the_worker_cannot_do_now_goes_back() -> None:
    inside = Inside()
    number = await fast(inside)
    inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    poll = inside.poll("w1", "other")
    assert poll.is_open
    assert [back.key for back in returns(inside)] == [key(number)]


async def test_a_task_that_was_cancelled_while_it_lay_ready_is_not_handed_out() -> None:
    inside = Inside()
    number = await fast(inside)
    ack = inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    inside.runs.cancel(key(number))
    assert inside.poll("w1", "echo").is_open
    assert inside.words(ack) == [b"+ACK"]
    inside.hands.tick(inside.later(2))
    assert returns(inside) == []


async def test_a_return_that_is_not_answered_is_said_again_and_one_that_is_refused_ends_the_delivery() -> (
    None
):
    inside = Inside()
    number = await fast(inside)
    ack = inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    inside.hands.tick(inside.later(1.5))
    returns(inside)[0].fail(NoAnswer("silence"))
    await settle()
    until = inside.later(5)
    while len(returns(inside)) < 2 and inside.later(0) < until:
        await settle()
    returns(inside)[1].answer(verdict="ignored", reason="cancelled")
    await settle()
    assert inside.words(ack) == [b"+ACK"]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "the journal is away"},
        {"verdict": "ignored", "reason": "unknown_job"},
        {"verdict": "a word of another version"},
    ],
)
async def test_a_return_that_could_not_be_decided_gives_the_delivery_back(answer: dict[str, str]) -> None:
    inside = Inside()
    number = await fast(inside)
    ack = inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    inside.hands.tick(inside.later(1.5))
    returns(inside)[0].answer(**answer)
    await settle()
    assert inside.words(ack) == [b'-NAK {"delay": 1000000000}']


async def test_in_the_end_everything_that_lies_ready_is_given_back_before_the_gateway_is_gone() -> None:
    inside = Inside()
    number = await fast(inside)
    ack = inside.deliver(number)
    inside.reports.asked[-1].grant()
    inside.deliver(number + 1)
    under_way = inside.reports.asked[-1]
    await settle()
    inside.hands.end_all()
    await inside.hands.ahead.given_back(0.01)  # nothing is answered: it does not wait for ever
    under_way.grant()
    await settle()
    for back in returns(inside):
        back.answer(verdict="accepted")
    await inside.hands.ahead.given_back(5)
    assert inside.words(ack) == [b"+ACK"]
    assert len(returns(inside)) == 2


async def test_a_worker_whose_results_pile_up_gets_one_task_for_each_that_it_reports() -> None:
    inside = Inside()
    number = await fast(inside)
    for more in range(4):
        inside.deliver(number + more)
        inside.reports.asked[-1].grant()
    await settle()
    inside.hands.reported("w1", 3.0)
    for more in range(3):
        poll = inside.poll("w1", "echo")
        assert not poll.answer.done()
        inside.hands.reported("w1", 3.0)
        assert given(poll).task.key == key(number + more)
    inside.hands.reported("w1", 0.0)
    assert given(inside.poll("w1", "echo")).task.key == key(number + 3), "it has caught up"


async def test_a_worker_that_reports_nothing_is_not_waited_for_long() -> None:
    inside = Inside()
    number = await fast(inside)
    inside.deliver(number)
    inside.reports.asked[-1].grant()
    await settle()
    inside.hands.reported("w1", 3.0)
    poll = inside.poll("w1", "echo")
    assert not poll.answer.done()
    async with asyncio.timeout(30):
        assert (await poll.answer) is not None


async def test_what_is_claimed_ahead_comes_several_at_a_time() -> None:
    inside = Inside()
    number = await fast(inside, tasks=16)
    inside.members["w1"].concurrency = 100
    for more in range(8):
        inside.deliver(number + more)
    for asked in inside.reports.asked[-8:]:
        asked.grant()
    await settle()
    wanted = []
    for _ in range(8):
        given(inside.poll("w1", "echo"))
        await settle()
        wanted.append(inside.wanted["echo"])
    assert wanted[0] == 0, "most of them are left"
    assert next(number for number in wanted if number) >= AT_ONCE


async def test_what_a_worker_did_but_could_not_report_yet_takes_no_room() -> None:
    inside = Inside()
    number = await fast(inside, tasks=10)
    inside.members["w1"].runs.update({key(1000 + n): None for n in range(inside.members["w1"].concurrency)})
    inside.deliver(number)
    assert inside.reports.asked[-1].key != key(number), "it works on as many as it may"
    inside.hands.reported("w1", 3.0)
    inside.deliver(number + 1)
    assert inside.reports.asked[-1].key == key(number + 1)
