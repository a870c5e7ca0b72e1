"""Each rule holds on a right history, and finds the violation that is planted in a wrong one."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from tests.faults import checks
from tests.faults.evidence import Evidence, Kill, Violation, summary
from tests.faults.executions import Execution, most_at_once
from tests.faults.ledger import Ledger, Order
from tests.faults.synthetic import ACCEPTED, JOB_SUCCEEDED, Stream, released, succeeded

ONE = UUID("019a0000-0000-7000-8000-000000000001")
TWO = UUID("019a0000-0000-7000-8000-000000000002")


@pytest.fixture
def stream() -> Stream:
    """Two jobs of one step, the second with a second attempt."""
    stream = Stream()
    stream.commit(ONE, ACCEPTED, released())
    stream.commit(TWO, ACCEPTED, released())
    stream.commit(ONE, succeeded(), JOB_SUCCEEDED)
    stream.commit(TWO, ("TaskTimedOut", {"task": 1, "attempt": 1, "what": "lease"}), released(attempt=2))
    stream.commit(TWO, succeeded(attempt=2), JOB_SUCCEEDED)
    stream.commit(TWO, ("ReportIgnored", {"task": 1, "attempt": 1, "reason": "stale"}))
    return stream


def evidence(stream: Stream) -> Evidence:
    ledger = Ledger()
    for key, job in (("a", ONE), ("b", TWO)):
        ledger.sent(Order(key, {"skill": "add"}, output={"x": 1}))
        ledger.acknowledged(key, job)
    start = 1_763_697_600_000_000
    runs = [run(ONE, 1, start + 1), run(TWO, 1, start + 2), run(TWO, 2, start + 3)]
    kill = Kill("worker", 7, start)
    return Evidence(stream.history, ledger, runs, [kill], ("worker",), "same", "same", 0, {"add": 0}, [])


def run(job: UUID, attempt: int, started_us: int) -> Execution:
    return Execution(job, 1, attempt, "w1", 7, "add", started_us, started_us + 10)


def found(evidence: Evidence) -> set[str]:
    return {violation.rule for violation in checks.violations(evidence)}


def test_a_right_history_violates_nothing(stream: Stream) -> None:
    assert checks.violations(evidence(stream)) == []


def test_an_acknowledged_job_that_is_not_in_the_journal_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.sent(Order("c", {}))
    case.ledger.acknowledged("c", UUID(int=3))
    assert found(case) == {"no_acknowledged_job_is_lost"}


def test_an_order_without_an_answer_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.sent(Order("c", {}))
    assert found(case) == {"every_order_is_acknowledged"}


def test_a_refused_order_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.refused("a", 409, "no")
    assert found(case) == {"every_order_is_acknowledged"}


def test_two_ids_for_one_key_are_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.acknowledged("a", TWO)
    assert "every_order_is_acknowledged" in found(case)


def test_a_job_that_nobody_ordered_is_found(stream: Stream) -> None:
    stream.commit(UUID(int=3), ACCEPTED, ("JobFailed", {}))
    assert found(evidence(stream)) == {"no_job_is_made_twice"}


def test_a_job_that_does_not_end_is_found(stream: Stream) -> None:
    stream.commit(UUID(int=3), ("JobAccepted", {"parent": {"job": str(ONE), "activation": 1}}))
    assert found(evidence(stream)) == {"every_job_ends"}


def test_a_second_end_is_found(stream: Stream) -> None:
    stream.commit(ONE, JOB_SUCCEEDED)
    assert found(evidence(stream)) == {"no_job_ends_twice"}


def test_an_event_behind_the_end_is_found(stream: Stream) -> None:
    stream.commit(ONE, ("TaskProgressed", {"task": 1, "attempt": 1}))
    assert found(evidence(stream)) == {"nothing_follows_the_end"}


def test_a_child_that_goes_on_without_its_parent_is_found(stream: Stream) -> None:
    parent = {"parent": {"job": str(ONE), "activation": 1}}
    stream.commit(UUID(int=3), ("JobAccepted", parent), ("JobCancelled", {}))
    assert found(evidence(stream)) == set()
    stream.commit(UUID(int=4), ("JobAccepted", parent), ("JobFailed", {}))
    assert found(evidence(stream)) == {"children_end_with_their_parents"}


def test_a_wrong_output_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.entries["a"].order = Order("a", {}, output={"x": 2})
    assert found(case) == {"every_job_ends_as_ordered"}


def test_a_wrong_status_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.ledger.entries["a"].order = Order("a", {}, status="failed")
    assert found(case) == {"every_job_ends_as_ordered"}


def test_a_message_that_is_no_commit_is_found(stream: Stream) -> None:
    stream.messages.append((7, "journal.job.x.1.note", b"{"))
    assert found(evidence(stream)) == {"history_is_whole"}


def test_a_missing_message_is_found(stream: Stream) -> None:
    del stream.messages[2]
    assert {"history_is_whole"} <= found(evidence(stream))


def test_a_gap_in_the_versions_is_found_also_when_the_chain_is_mended(stream: Stream) -> None:
    n, tip = stream.tips[ONE]
    stream.tips[ONE] = (n + 1, tip)
    stream.commit(ONE, ("ReportIgnored", {}))
    assert found(evidence(stream)) == {"history_is_whole"}


def test_a_body_that_belongs_to_another_subject_is_found(stream: Stream) -> None:
    sequence, subject, raw = stream.messages[-1]
    stream.messages[-1] = (sequence, subject, raw.replace(str(TWO).encode(), str(ONE).encode()))
    assert found(evidence(stream)) == {"history_is_whole"}


def test_a_changed_commit_is_found(stream: Stream) -> None:
    sequence, subject, raw = stream.messages[0]
    stream.messages[0] = (sequence, subject, raw.replace(b'"by":"test"', b'"by":"tess"'))
    assert found(evidence(stream)) == {"chains_hold"}


def test_a_first_commit_that_claims_one_before_it_is_found(stream: Stream) -> None:
    stream.tips[UUID(int=3)] = (1, "0" * 64)
    stream.commit(UUID(int=3), ("JobAccepted", {"parent": {}}), ("JobFailed", {}))
    assert "chains_hold" in found(evidence(stream))


def test_a_release_that_feeds_no_queue_is_found(stream: Stream) -> None:
    sequence, subject, raw = stream.messages[0]
    stream.messages[0] = (sequence, subject.replace("run.add", "note"), raw)
    assert found(evidence(stream)) == {"releases_feed_their_queue"}


def test_a_queue_that_holds_no_release_is_found(stream: Stream) -> None:
    sequence, subject, raw = stream.messages[-1]
    stream.messages[-1] = (sequence, subject.replace("note", "run.add"), raw)
    assert found(evidence(stream)) == {"releases_feed_their_queue"}


def test_an_attempt_that_is_released_twice_is_found() -> None:
    stream = Stream()
    stream.commit(ONE, ACCEPTED, released())
    stream.commit(ONE, released())
    assert rules_of(Evidence(stream.history)) >= {"no_attempt_is_released_twice"}


def test_a_result_of_an_attempt_that_is_not_out_is_found() -> None:
    stream = Stream()
    stream.commit(ONE, ACCEPTED, released())
    stream.commit(ONE, ("TaskTimedOut", {"task": 1, "attempt": 1}), released(attempt=2))
    stream.commit(ONE, succeeded(attempt=1), JOB_SUCCEEDED)
    assert rules_of(Evidence(stream.history)) == {"results_belong_to_released_attempts"}


def test_a_result_that_is_accepted_twice_is_found() -> None:
    stream = Stream()
    stream.commit(ONE, ACCEPTED, released())
    stream.commit(ONE, succeeded())
    stream.commit(ONE, succeeded(), JOB_SUCCEEDED)
    assert rules_of(Evidence(stream.history)) == {"results_belong_to_released_attempts"}


def test_an_accepted_result_that_no_worker_ran_for_is_found(stream: Stream) -> None:
    case = evidence(stream)
    del case.executions[0]
    assert found(case) == {"results_come_from_runs"}


def test_a_run_of_an_attempt_that_was_never_released_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.executions.append(run(ONE, 2, case.executions[0].started_us))
    assert found(case) == {"results_come_from_runs"}


def test_a_second_run_is_excused_by_a_kill_between_and_by_nothing_else(stream: Stream) -> None:
    case = evidence(stream)
    first = case.executions[0].started_us
    case.executions.append(run(ONE, 1, first + 500_000))
    assert found(case) == set()
    case.kills = [Kill("worker", 7, first + 600_000)]
    assert found(case) == {"runs_again_only_after_a_kill"}
    case.kills = [replace(case.kills[0], role="projector", at_us=first + 1)]
    case.expected_roles = ()
    assert found(case) == {"runs_again_only_after_a_kill"}


def test_a_stall_excuses_what_starts_again_while_it_lasts(stream: Stream) -> None:
    case = evidence(stream)
    first = case.executions[0].started_us
    case.executions.append(run(ONE, 1, first + 500_000))
    case.expected_roles = ()
    case.kills = [Kill("stalled worker", 7, first - 5_000_000, stalled_us=4_500_000)]
    assert found(case) == set()
    case.kills = [Kill("stalled worker", 7, first - 5_000_000, stalled_us=1_000_000)]
    assert found(case) == {"runs_again_only_after_a_kill"}


def test_a_run_after_the_end_of_its_job_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.executions[0] = replace(case.executions[0], started_us=stream.now_us + 3_000_000)
    assert found(case) == {"nothing_runs_after_the_end"}


def test_a_message_that_waits_for_ever_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.waiting["add"] = 1
    assert found(case) == {"queues_are_empty"}


def test_a_read_model_that_differs_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.served = "other"
    assert found(case) == {"read_model_equals_a_rebuild"}


def test_a_commit_that_cannot_become_rows_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.poisoned = 1
    assert found(case) == {"read_model_equals_a_rebuild"}


def test_a_process_that_is_left_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.orphans = ["4711 nats-server"]
    assert found(case) == {"nothing_is_left_running"}


def test_a_role_that_was_never_killed_is_found(stream: Stream) -> None:
    case = evidence(stream)
    case.expected_roles = ("worker", "nats")
    assert checks.violations(case) == [Violation("every_role_was_hit", "nats", "was never killed")]


def test_every_rule_has_a_planted_violation_here() -> None:
    """A new rule without a test of its own fails this one."""
    text = Path(__file__).read_text()
    assert [rule.__name__ for rule in checks.RULES if f'"{rule.__name__}"' not in text] == []


def test_runs_that_touch_do_not_overlap_and_runs_that_cross_do() -> None:
    runs = [run(ONE, 1, 100), run(ONE, 2, 110), run(ONE, 3, 115)]
    assert most_at_once(runs) == 2


def test_a_run_that_was_killed_lasts_until_its_process_died() -> None:
    killed = replace(run(ONE, 1, 100), ended_us=None)
    assert most_at_once([killed, run(ONE, 2, 200)], {7: 150}) == 1
    assert most_at_once([killed, run(ONE, 2, 200)], {7: 250}) == 2


def test_the_summary_counts_what_happened(stream: Stream) -> None:
    numbers = summary(evidence(stream))
    assert numbers["jobs acknowledged"] == 2
    assert numbers["jobs ended"] == 2
    assert numbers["tasks timed out"] == 1
    assert numbers["kills of worker"] == 1
    json.dumps(numbers)


def rules_of(case: Evidence) -> set[str]:
    return {violation.rule for violation in checks.violations(case)}
