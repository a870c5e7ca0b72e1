"""Polls that wait."""

import asyncio

from services.api.gateway.polls import INDIFFERENT, Poll, Room


def poll(room: Room, worker: str, *skills: str, until: float = 10.0) -> Poll:
    made = room.make(worker, frozenset(skills), until, asyncio.get_running_loop().create_future())
    room.wait(made)
    return made


async def test_polls_of_a_skill_are_served_in_the_order_in_which_they_came() -> None:
    room = Room()
    first, second = poll(room, "a", "x"), poll(room, "b", "x", "y")
    assert room.first("x") is first
    assert room.first("y") is second
    room.leave(first)
    assert room.first("x") is second
    assert room.first_not_of("x", frozenset({"b"})) is None


async def test_a_worker_that_has_the_skill_loaded_is_first_then_the_cheapest_then_who_waited_longest() -> (
    None
):
    room = Room()
    plain, dear, cheap, hot = (poll(room, name, "x", "y") for name in ("plain", "dear", "cheap", "hot"))
    room.prefer("dear", {"x": (True, 9.0, -1.0), "y": INDIFFERENT})
    room.prefer("cheap", {"x": (True, 1.0, -1.0)})
    room.prefer("hot", {"x": (False, 5.0, -1.0)})
    assert room.first("y") is plain
    assert room.first_not_of("x", frozenset({"hot"})) is cheap
    for expected in (hot, cheap, dear, plain):
        assert room.first("x") is expected
        room.leave(expected)
    assert room.first("x") is None


async def test_between_equals_the_better_reputation_is_first() -> None:
    room = Room()
    bad, good = poll(room, "bad", "x"), poll(room, "good", "x")
    assert room.first("x") is bad, "who waited longest"
    room.prefer("bad", {"x": (True, float("inf"), -0.8)})
    assert room.first("x") is good


async def test_who_is_preferred_no_more_waits_like_any_other() -> None:
    room = Room()
    first, second = poll(room, "a", "x"), poll(room, "b", "x")
    room.prefer("b", {"x": (False, 1.0, -1.0)})
    assert room.first("x") is second
    room.prefer("b", {"x": INDIFFERENT})
    assert room.first("x") is first


async def test_a_poll_that_comes_back_has_its_old_place() -> None:
    room = Room()
    first = poll(room, "a", "x")
    room.leave(first)
    first.taken = True
    second = poll(room, "b", "x")
    room.wait(first)
    assert room.first("x") is first
    room.leave(first)
    assert room.first("x") is second


async def test_nothing_is_left_of_polls_that_are_over() -> None:
    room = Room()
    for _ in range(500):
        each = poll(room, "a", "x", "y")
        each.end()
        room.leave(each)
        room.leave(each)  # a second time is nothing
        room.forget_answered()
    assert (len(room), room.demand("x"), room.count("a")) == (0, 0.0, 0)
    assert len(room._deadlines) < 100


async def test_each_poll_is_overdue_once_and_only_when_it_is_open() -> None:
    room = Room()
    late, served, early = poll(room, "a", "x"), poll(room, "b", "x"), poll(room, "c", "x", until=99)
    served.end()
    assert list(room.overdue(10.0)) == [late]
    assert list(room.overdue(10.0)) == []
    assert early in room.everyone()
