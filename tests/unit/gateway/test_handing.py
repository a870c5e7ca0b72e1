"""Tasks and polls find each other."""

from dataclasses import replace

import pytest

from services.api.gateway.contracts import Contract
from shared.application.schemas import schema_of
from shared.broker.errors import NoAnswer
from tests.unit.gateway.desk import Inside, given, key, settle


async def test_a_task_is_claimed_before_it_is_handed_out() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo")
    inside.deliver(input={"a": 1})
    (claim,) = inside.reports.asked
    assert (claim.kind, claim.worker, claim.key) == ("claim", "w1", key())
    assert poll.is_open
    claim.grant()
    await settle()
    assert given(poll).task.input == {"a": 1}
    assert inside.runs.get(key()) is not None
    assert inside.members["w1"].runs == {key(): None}


async def test_the_poll_that_waited_longest_gets_the_task() -> None:
    inside = Inside()
    for name in ("w1", "w2"):
        inside.join(name, "echo")
        inside.poll(name, "echo")
    inside.deliver(1)
    inside.deliver(2)
    assert [asked.worker for asked in inside.reports.asked] == ["w1", "w2"]


async def test_a_refused_task_is_acked_and_the_poll_keeps_its_place() -> None:
    inside = Inside()
    for name in ("w1", "w2"):
        inside.join(name, "echo")
        inside.poll(name, "echo")
    ack = inside.deliver(1)
    inside.reports.asked[0].answer(verdict="refused", reason="cancelled")
    await settle()
    assert inside.words(ack) == [b"+ACK"]
    inside.deliver(2)
    assert inside.reports.asked[1].worker == "w1"


async def test_a_claim_without_an_answer_gives_the_task_back() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo")
    ack = inside.deliver()
    inside.reports.asked[0].fail(NoAnswer("silence"))
    await settle()
    assert inside.words(ack)[0].startswith(b"-NAK")
    assert poll.is_open


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "the journal is away"},
        {"verdict": "refused", "reason": "unknown_job"},
        {"verdict": "a word of another version"},
    ],
)
async def test_a_claim_that_could_not_be_decided_gives_the_task_back(answer: dict[str, str]) -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo")
    ack = inside.deliver()
    inside.reports.asked[0].answer(**answer)
    await settle()
    assert inside.words(ack) == [b'-NAK {"delay": 1000000000}']
    assert poll.is_open


async def test_as_many_tasks_are_wanted_as_there_are_polls() -> None:
    inside = Inside()
    inside.join("w1", "echo", "other")
    inside.poll("w1", "echo")
    inside.poll("w1", "echo", "other")
    await settle()
    assert inside.wanted == {"echo": 1.5, "other": 0.5}
    inside.deliver(1)
    await settle()
    assert inside.wanted["echo"] == 0.5


async def test_a_task_that_nobody_polls_for_goes_back_within_a_second() -> None:
    inside = Inside()
    ack = inside.deliver()
    inside.hands.tick(inside.later(0.5))
    assert inside.words(ack) == []
    inside.hands.tick(inside.later(1.0))
    assert inside.words(ack) == [b"-NAK"]


async def test_what_went_back_unclaimed_is_asked_for_again_while_a_poll_waits() -> None:
    inside = Inside()
    inside.join("w1", "echo").lists_tasks = False
    inside.poll("w1", "echo")
    inside.deliver(1, delivered=2)
    await settle()
    assert inside.wanted["echo"] == 0
    inside.hands.tick(inside.later(1.0))
    await settle()
    assert inside.wanted["echo"] == 1


async def test_a_poll_that_comes_in_time_gets_the_oldest_task_that_waits_here() -> None:
    inside = Inside()
    inside.join("w1", "echo", "other")
    inside.deliver(1, "other")
    inside.deliver(2, "echo")
    inside.poll("w1", "echo", "other")
    assert inside.reports.asked[0].key == key(1)


async def test_a_poll_is_answered_with_nothing_at_its_time() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo", seconds=5)
    inside.hands.tick(inside.later(4))
    assert poll.is_open
    inside.hands.tick(inside.later(6))
    assert poll.answer.result() is None
    await settle()
    assert inside.wanted["echo"] == 0


async def test_a_poll_that_is_being_served_is_not_ended_by_its_time() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo", seconds=5)
    inside.deliver()
    inside.hands.tick(inside.later(6))
    inside.reports.asked[0].grant()
    await settle()
    assert given(poll).task.key == key()


async def test_what_was_granted_to_a_poll_that_is_gone_is_for_the_workers_next() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo")
    inside.deliver()
    inside.hands.gone(poll)
    inside.reports.asked[0].grant()
    await settle()
    again = inside.poll("w1", "echo")
    assert given(again).task.key == key()
    assert len(inside.reports.asked) == 1


async def test_what_its_worker_does_not_come_back_for_is_given_back() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    poll = inside.poll("w1", "echo")
    ack = inside.deliver()
    inside.hands.gone(poll)
    inside.reports.asked[0].grant()
    await settle()
    inside.hands.tick(inside.later(0.5))
    assert len(inside.reports.asked) == 1
    inside.hands.tick(inside.later(1.5))
    back = inside.reports.asked[1]
    assert (back.kind, back.worker, back.key) == ("return", "w1", key())
    assert inside.words(ack) == []  # not before the dispatcher has released it anew
    back.answer(verdict="accepted")
    await settle()
    assert inside.words(ack) == [b"+ACK"]
    assert inside.runs.get(key()) is None


async def test_a_task_that_is_in_hand_is_not_handed_out_again() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    inside.poll("w1", "echo")
    inside.deliver()
    inside.reports.asked[0].grant()
    await settle()
    inside.poll("w1", "echo")
    again = inside.deliver(delivered=2)
    assert len(inside.reports.asked) == 1
    assert inside.words(again) == [b"+WPI"]


async def test_a_redelivered_task_waits_for_a_worker_that_said_what_it_works_on() -> None:
    inside = Inside()
    inside.join("new", "echo").lists_tasks = False
    inside.poll("new", "echo")
    inside.deliver(1, delivered=2)
    assert inside.reports.asked == []
    inside.join("old", "echo")
    inside.poll("old", "echo")
    assert [asked.worker for asked in inside.reports.asked] == ["old"]
    inside.deliver(2)
    assert [asked.worker for asked in inside.reports.asked] == ["old", "new"]


async def test_what_is_no_task_is_given_back_for_a_while() -> None:
    inside = Inside()
    ack = inside.deliver(placement={"strategy": "nonsense"})
    assert inside.words(ack) == [b'-NAK {"delay": 30000000000}']


async def test_a_cancelled_task_that_waits_here_is_dropped() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    plain, placed = inside.deliver(1), inside.deliver(2, placement={"worker": "w1"})
    inside.hands.drop(lambda task: True)
    assert (inside.words(plain), inside.words(placed)) == ([b"+ACK"], [b"+ACK"])
    inside.poll("w1", "echo")
    assert inside.reports.asked == []


async def test_a_placed_task_goes_to_the_worker_that_its_strategy_chooses() -> None:
    inside = Inside()
    inside.join("dear", "echo", costs={"echo": 9.0})
    inside.join("cheap", "echo", costs={"echo": 1.0})
    inside.poll("dear", "echo")
    inside.poll("cheap", "echo")
    inside.deliver(placement={"strategy": "cheapest"})
    assert [asked.worker for asked in inside.reports.asked] == ["cheap"]


async def test_a_placed_task_waits_a_moment_for_the_best_worker_and_then_takes_the_next() -> None:
    inside = Inside()
    inside.join("dear", "echo", costs={"echo": 9.0})
    inside.join("cheap", "echo", costs={"echo": 1.0})
    inside.poll("dear", "echo")
    inside.deliver(1, placement={"strategy": "cheapest"})
    inside.hands.tick(inside.later(0.5))
    assert inside.reports.asked == []
    inside.hands.tick(inside.later(1.1))
    assert [asked.worker for asked in inside.reports.asked] == ["dear"]


async def test_a_placed_task_is_kept_for_the_one_worker_that_fits() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    inside.join("w2", "echo")
    inside.poll("w2", "echo")
    ack = inside.deliver(placement={"worker": "w1"})
    for seconds in (2.0, 5.0):
        inside.hands.tick(inside.later(seconds))
    assert inside.words(ack) == [b"+WPI"]
    inside.poll("w1", "echo")
    assert [asked.worker for asked in inside.reports.asked] == ["w1"]


async def test_the_most_urgent_placed_task_goes_first() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    inside.deliver(1, placement={"worker": "w1"})
    inside.deliver(2, placement={"worker": "w1"}, urgency=900)
    inside.poll("w1", "echo")
    assert [asked.key for asked in inside.reports.asked] == [key(2)]


async def test_a_placed_task_that_nobody_here_fits_goes_back_for_a_second() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    ack = inside.deliver(placement={"max_cost": 1})
    assert inside.words(ack) == [b'-NAK {"delay": 1000000000}']


async def test_a_placed_task_whose_time_to_begin_is_over_is_let_go() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    ack = inside.deliver(placement={"worker": "w1"}, dispatch_by=1)
    inside.hands.tick(inside.later(0.3))
    assert inside.words(ack) == [b"+ACK"]


async def test_in_the_end_polls_are_answered_and_what_waits_goes_back() -> None:
    inside = Inside()
    inside.join("w1", "echo")
    inside.join("w2", "other")
    poll = inside.poll("w1", "echo")
    plain, placed = inside.deliver(1, "other"), inside.deliver(2, "other", placement={"worker": "w2"})
    inside.hands.end_all()
    assert poll.answer.result() is None
    assert (inside.words(plain), inside.words(placed)) == ([b"-NAK"], [b"-NAK"])


async def test_a_placed_task_goes_only_to_a_worker_whose_skill_takes_its_input() -> None:
    inside = Inside()
    for name, schema in (("numbers", {"required": ["n"]}), ("words", {"required": ["word"]})):
        promised = Contract(takes=schema_of(schema))
        member = inside.join(name, "echo")
        member.profile = replace(member.profile, contracts={"echo": promised})
        inside.poll(name, "echo")
    inside.deliver(1, placement={}, input={"word": "tea"})
    inside.deliver(2, placement={}, input={"n": 1})
    assert [asked.worker for asked in inside.reports.asked] == ["words", "numbers"]


async def test_a_placed_task_goes_only_to_a_worker_that_ends_as_its_next_steps_count_on() -> None:
    inside = Inside()
    for name, statuses in (("plain", {"done"}), ("fine", {"done", "needs_review"})):
        member = inside.join(name, "echo")
        member.profile = replace(member.profile, contracts={"echo": Contract(statuses=frozenset(statuses))})
    inside.poll("plain", "echo")
    late = inside.poll("fine", "echo")
    inside.deliver(1, placement={}, transitions={"success": "a", "failure": "b", "needs_review": "c"})
    assert [asked.worker for asked in inside.reports.asked] == ["fine"]
    assert late.taken


async def test_a_placed_task_that_waits_here_is_not_for_a_poll_of_a_worker_that_cannot_take_it() -> None:
    inside = Inside()
    able, unable = inside.join("able", "echo"), inside.join("unable", "echo")
    unable.profile = replace(
        unable.profile, contracts={"echo": Contract(takes=schema_of({"required": ["n"]}))}
    )
    inside.deliver(placement={}, input={})
    inside.poll("unable", "echo")
    assert inside.reports.asked == []
    inside.poll(able.name, "echo")
    assert [asked.worker for asked in inside.reports.asked] == ["able"]


async def test_a_placed_task_is_not_kept_for_a_worker_that_is_not_trusted() -> None:
    inside = Inside()
    inside.join("cheap", "echo", costs={"echo": 1.0}).is_trusted = False
    inside.join("dear", "echo", costs={"echo": 9.0})
    inside.poll("dear", "echo")
    inside.deliver(placement={"strategy": "cheapest"})
    assert inside.reports.asked[-1].worker == "dear", "at once"
