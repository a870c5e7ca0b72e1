"""Which held task is released next."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.flow import TAKERS_SECONDS, Flow, Held, Limit


def held(
    number: int, *, urgency: int = 500, tenant: str = "a", limits: tuple[Limit, ...] = (), skill: str = "s"
) -> Held:
    return Held((UUID(int=number), 1), skill, urgency, tenant, limits)


def drain(flow: Flow, now: float = 0.0) -> list[int]:
    """Release and end everything that may go, one at a time."""
    order = []
    while (task := flow.next("s", now)) is not None:
        order.append(task.key[0].int)
        flow.ended(task.key, now)
    return order


def test_the_more_urgent_task_is_released_first_and_equals_in_order_of_arrival() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    for number, urgency in enumerate([100, 900, 500, 900, 100]):
        flow.hold(held(number, urgency=urgency))
    assert drain(flow) == [1, 3, 2, 0, 4]


def test_tenants_take_turns_inside_equal_urgency() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    for number in range(4):
        flow.hold(held(number, tenant="greedy"))
    flow.hold(held(10, tenant="modest"))
    flow.hold(held(11, tenant="modest"))
    assert drain(flow) == [0, 10, 1, 11, 2, 3]


def test_nothing_is_released_without_a_worker() -> None:
    flow = Flow()
    flow.hold(held(1))
    assert flow.next("s", 0.0) is None
    assert flow.open_room("s", 0.0) == 0


def test_no_more_is_released_than_the_workers_have_slots() -> None:
    flow = Flow()
    flow.set_slots("s", 2)
    for number in range(3):
        flow.hold(held(number))
    assert flow.next("s", 0.0) is not None
    assert flow.next("s", 0.0) is not None
    assert flow.next("s", 0.0) is None


def test_what_was_finished_in_the_last_moment_makes_room_ahead() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    flow.released(held(1), 0.0)
    flow.ended((UUID(int=1), 1), 0.0)
    assert flow.room("s", 0.1) == 2
    assert flow.room("s", 0.3) == 1


def test_a_dropped_task_is_never_released() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    flow.hold(held(1))
    flow.hold(held(2))
    flow.drop((UUID(int=1), 1))
    assert drain(flow) == [2]


def test_a_dropped_task_does_not_cost_its_tenant_a_turn() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    for number, tenant in enumerate(["a", "b", "a", "b", "a", "b"]):
        flow.hold(held(number, tenant=tenant))
    flow.drop((UUID(int=1), 1))
    assert drain(flow) == [0, 3, 2, 5, 4]


def test_others_may_release_unasked_only_while_nothing_is_held() -> None:
    flow = Flow()
    flow.set_slots("s", 3)
    assert flow.open_room("s", 0.0) == 3
    flow.hold(held(1))
    assert flow.open_room("s", 0.0) == 0


def test_a_full_key_does_not_stop_tasks_of_other_keys() -> None:
    flow = Flow()
    flow.set_slots("s", 10)
    one = (Limit("k", 1),)
    flow.hold(held(1, limits=one))
    flow.hold(held(2, limits=one))
    flow.hold(held(3))
    first, second = flow.next("s", 0.0), flow.next("s", 0.0)
    assert first is not None
    assert second is not None
    assert (first.key[0].int, second.key[0].int) == (1, 3)
    assert flow.next("s", 0.0) is None
    flow.ended(first.key, 0.0)
    third = flow.next("s", 0.0)
    assert third is not None
    assert third.key[0].int == 2


def test_the_keys_of_two_tenants_are_two_keys() -> None:
    flow = Flow()
    flow.set_slots("s", 10)
    one = (Limit("k", 1),)
    flow.hold(held(1, limits=one, tenant="a"))
    flow.hold(held(2, limits=one, tenant="b"))
    assert flow.next("s", 0.0) is not None
    assert flow.next("s", 0.0) is not None


def test_a_rate_key_opens_again_when_its_window_has_passed() -> None:
    flow = Flow()
    flow.set_slots("s", 10)
    two_a_minute = (Limit("k", 2, 60.0),)
    for number in range(5):
        flow.hold(held(number, limits=two_a_minute))
    assert flow.next("s", 0.0) is not None
    assert flow.next("s", 1.0) is not None
    assert flow.next("s", 2.0) is None
    assert flow.open_windows(30.0) == set()
    assert flow.open_windows(60.5) == {"s"}
    assert flow.next("s", 60.5) is not None
    assert flow.next("s", 60.5) is None


def test_dropping_a_task_that_had_the_place_of_a_key_gives_it_to_the_next() -> None:
    flow = Flow()
    flow.set_slots("s", 1)
    one = (Limit("k", 1),)
    for number in (1, 2, 3):
        flow.hold(held(number, limits=one))
    assert flow.next("s", 0.0) is not None
    flow.set_slots("s", 2)
    assert flow.next("s", 0.0) is None  # 2 and 3 are parked under the key
    flow.set_slots("s", 0)
    flow.ended((UUID(int=1), 1), 0.0)  # 2 waits for room again
    flow.drop((UUID(int=2), 1))
    flow.set_slots("s", 1)
    third = flow.next("s", 0.0)
    assert third is not None
    assert third.key[0].int == 3


def test_tasks_that_wait_for_two_full_keys_do_not_drive_each_other_round() -> None:
    flow = Flow()
    flow.set_slots("s", 10)
    k, q = Limit("k", 1), Limit("q", 1)
    for number, limits in enumerate([(k, q), (k, q), (q, k), (k, q)]):
        flow.hold(held(number, limits=limits))
    released = []
    while (task := flow.next("s", 0.0)) is not None:
        released.append(task.key[0].int)
        assert flow.next("s", 0.0) is None
        flow.ended(task.key, 0.0)
    assert sorted(released) == [0, 1, 2, 3]


@given(
    tasks=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["a", "b", "c"]),
            st.lists(st.sampled_from([Limit("k", 2), Limit("q", 1)]), unique=True, max_size=2),
        ),
        max_size=40,
    ),
    drops=st.sets(st.integers(0, 39), max_size=10),
    slots=st.integers(1, 4),
)
def test_everything_held_is_released_once_and_no_limit_is_exceeded(
    tasks: list[tuple[int, str, list[Limit]]], drops: set[int], slots: int
) -> None:
    flow = Flow()
    flow.set_slots("s", slots)
    for number, (urgency, tenant, limits) in enumerate(tasks):
        flow.hold(held(number, urgency=urgency, tenant=tenant, limits=tuple(limits)))
    running: list[Held] = []
    seen: list[int] = []
    now = 0.0
    dropped = {number for number in drops if number < len(tasks)}
    pending_drops = sorted(dropped)
    while True:
        now += 1.0
        task = flow.next("s", now)
        if task is not None:
            running.append(task)
            seen.append(task.key[0].int)
            for tenant in "abc":
                for limit in (Limit("k", 2), Limit("q", 1)):
                    users = [r for r in running if r.tenant == tenant and limit in r.limits]
                    assert len(users) <= limit.limit
            if pending_drops:
                number = pending_drops.pop()
                if number not in seen:
                    flow.drop((UUID(int=number), 1))
                else:
                    dropped.discard(number)
            continue
        if not running:
            break
        flow.ended(running.pop(0).key, now)
    assert len(seen) == len(set(seen))
    assert set(seen) | dropped >= set(range(len(tasks)))


def test_a_task_that_must_wait_for_its_other_key_does_not_keep_the_place_of_the_first() -> None:
    flow = Flow()
    flow.set_slots("s", 10)
    k, q = Limit("k", 1), Limit("q", 1)
    for number, limits in enumerate([(k,), (k, q), (k,), (q,)]):
        flow.hold(held(number, limits=limits))
    first, last = flow.next("s", 0.0), flow.next("s", 0.0)
    assert first is not None
    assert last is not None
    assert (first.key[0].int, last.key[0].int) == (0, 3)
    assert flow.next("s", 0.0) is None
    flow.ended(first.key, 0.0)
    third = flow.next("s", 0.0)
    assert third is not None
    assert third.key[0].int == 2


def test_after_a_restart_a_rate_window_holds_what_was_released_before() -> None:
    limit = Limit("k", 3, 60.0)
    flow = Flow(recovering=True)
    flow.set_slots("s", 10)
    flow.released(held(1, limits=(limit,)), 100.0)  # the follower tells what the count will tell again
    flow.hold(held(2, limits=(limit,)))
    flow.hold(held(3, limits=(limit,)))
    assert flow.longest_window() == 60.0
    flow.count_from(0.0, [("a", limit, 70.0), ("a", limit, 90.0), ("b", limit, 99.0)])
    second = flow.next("s", 100.0)
    assert second is not None
    assert second.key[0].int == 2
    assert flow.next("s", 100.0) is None
    assert flow.open_windows(129.0) == set()
    assert flow.open_windows(130.0) == {"s"}
    assert flow.next("s", 130.0) is not None


def test_what_was_released_before_the_known_past_counts_as_all_that_a_key_allows() -> None:
    flow = Flow(recovering=True)
    flow.count_from(0.0, [])
    flow.set_slots("s", 10)
    flow.hold(held(1, limits=(Limit("k", 2, 60.0),)))
    assert flow.next("s", 1.0) is None
    assert flow.open_windows(59.0) == set()
    assert flow.open_windows(61.0) == {"s"}
    assert flow.next("s", 61.0) is not None


def test_a_skill_is_fed_while_more_is_in_flight_than_there_is_room_for() -> None:
    flow = Flow()
    flow.set_slots("s", 4)
    tasks = [held(n) for n in range(4)]
    assert not flow.is_fed("s", 0.0)
    for number, fed in enumerate((False, False, True)):
        flow.released(tasks[number], 0.0)
        assert flow.is_fed("s", 0.0) is fed
    flow.released(tasks[3], 0.0)
    assert not flow.is_fed("s", 0.0), "without room there is nothing to gather"


def test_who_takes_gets_what_would_be_released_next_as_far_as_there_is_room() -> None:
    flow = Flow()
    flow.set_slots("s", 2, all_take=True)
    for number, urgency in enumerate([100, 900, 500]):
        flow.hold(held(number, urgency=urgency))
    taken = [flow.take("s", 0.0) for _ in range(3)]
    assert [task and task.key[0].int for task in taken] == [1, 2, None]
    assert flow.in_flight("s") == 2


def test_what_is_held_is_left_to_those_who_ask_for_it_for_a_moment() -> None:
    flow = Flow()
    flow.set_slots("s", 1, all_take=True)
    assert flow.take("s", 10.0) is None
    assert not flow.is_left_to_takers("s", 10.0), "nothing was held, so what comes is released as ever"
    flow.hold(held(1))
    flow.hold(held(2))
    assert flow.take("s", 10.0) is not None
    assert flow.is_left_to_takers("s", 10.0 + TAKERS_SECONDS / 2)
    assert not flow.is_left_to_takers("s", 10.0 + TAKERS_SECONDS)


def test_nothing_is_left_to_takers_where_somebody_pulls_from_the_queue() -> None:
    flow = Flow()
    flow.set_slots("s", 2, all_take=False)
    flow.hold(held(1))
    assert flow.take("s", 10.0) is not None
    assert not flow.is_left_to_takers("s", 10.0)
