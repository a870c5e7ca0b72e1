"""Held tasks that are asked for on behalf of a fast worker."""

import asyncio

import pytest

from services.api.gateway.ahead import AT_ONCE
from services.api.gateway.takes import DRY_SECONDS
from shared.broker.errors import NoResponders
from shared.broker.messages import Message
from tests.unit.gateway.desk import Inside, given, key, settle
from tests.unit.gateway.test_ahead import fast, returns


async def asks(*, tasks: int = 12) -> Inside:
    """A worker that took so many tasks in a row, and a dispatcher that holds some: it was asked for one."""
    inside = Inside()
    await fast(inside, tasks=tasks)
    inside.holds = True
    async with asyncio.timeout(30):
        while not inside.takes:
            inside.members["w1"].concurrency = 100
            inside.hands.look(("echo",))
            await settle()
    return inside


async def test_a_skill_is_tried_with_one_and_asked_for_all_that_is_wanted_when_that_is_there() -> None:
    inside = await asks()
    (first,) = inside.takes
    assert (first.skill, first.worker, first.number) == ("echo", "w1", 1)
    first.give(100)
    await settle()
    assert inside.takes[1].number >= AT_ONCE
    assert inside.wanted["echo"] == 1, "what went to the queue before is pulled one by one"


async def test_what_is_taken_lies_ready_for_the_next_poll_and_no_delivery_is_answered() -> None:
    inside = await asks()
    sent = list(inside.sent)
    inside.takes[0].give(100, input={"n": 1}, attempt=2)
    await settle()
    poll = inside.poll("w1", "echo")
    assert given(poll).task.key == key(100, 2)
    assert given(poll).task.params == {"n": 1}
    run = inside.runs.get(key(100, 2))
    assert run is not None
    inside.runs.tick(inside.later(20))
    inside.runs.settled(run)
    inside.runs.acknowledge()
    assert inside.sent == sent


async def test_what_is_taken_goes_to_a_poll_that_waits() -> None:
    inside = await asks()
    poll = inside.poll("w1", "echo")
    inside.takes[0].give(100)
    await settle()
    assert given(poll).task.key == key(100)


async def test_when_nothing_is_held_the_queue_is_asked_and_a_while_later_the_dispatcher_again() -> None:
    inside = await asks()
    inside.takes[0].give()
    await settle()
    assert len(inside.takes) == 1
    assert inside.wanted["echo"] >= AT_ONCE
    async with asyncio.timeout(30):
        while len(inside.takes) == 1:
            await asyncio.sleep(DRY_SECONDS / 10)
            inside.hands.ahead.took("w1")  # it is as fast as ever
            inside.hands.look(("echo",))
    assert inside.takes[1].number == 1


async def test_when_less_is_held_than_asked_for_the_rest_comes_by_the_queue() -> None:
    inside = await asks(tasks=20)
    inside.takes[0].give(100)
    await settle()
    inside.takes[1].give(101)
    await settle()
    assert len(inside.takes) == 2
    assert inside.wanted["echo"] >= AT_ONCE


@pytest.mark.parametrize("how", ["silence", "no task", "refused"])
async def test_a_dispatcher_that_gives_no_sense_is_left_alone_and_nothing_is_lost(how: str) -> None:
    inside = await asks()
    future = inside.takes[0].future
    if how == "silence":
        future.set_exception(NoResponders("away"))
    elif how == "no task":
        future.set_result([Message("", "", b"[]"), Message("", "", b"", b"NATS/1.0 204 No More\r\n\r\n")])
    else:
        future.set_result([Message("", "", b"", b"NATS/1.0 400 Bad Request\r\n\r\n")])
    await settle()
    assert inside.wanted["echo"] >= AT_ONCE
    inside.deliver(300)
    assert inside.reports.asked[-1].key == key(300)


async def test_what_is_taken_and_not_fetched_is_given_back_and_no_delivery_is_answered() -> None:
    inside = await asks()
    inside.takes[0].give(100)
    await settle()
    sent = list(inside.sent)
    inside.hands.tick(inside.later(1.5))
    (back,) = returns(inside)
    assert back.key == key(100)
    back.answer(verdict="accepted")
    await settle()
    assert inside.runs.get(key(100)) is None
    assert inside.sent == sent


async def test_what_comes_for_a_worker_that_has_left_is_given_back() -> None:
    inside = await asks()
    inside.members["w1"].has_left = True
    inside.hands.ahead.give_up("w1")
    inside.takes[0].give(100)
    await settle()
    assert [back.key for back in returns(inside)] == [key(100)]
