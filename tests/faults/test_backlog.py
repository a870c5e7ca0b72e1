"""The judge of a backlog's order finds what is out of order."""

from uuid import UUID

from tests.faults.backlog import Backlog, Waiting, problems
from tests.faults.executions import Execution


def served(*jobs: tuple[str, int]) -> tuple[Backlog, list[Execution]]:
    backlog = {UUID(int=i): Waiting(tenant, urgency, False) for i, (tenant, urgency) in enumerate(jobs, 1)}
    return backlog, [Execution(job, 1, 1, "w1", 7, "add", place) for place, job in enumerate(backlog)]


def test_turns_by_urgency_and_tenant_are_in_order() -> None:
    case = served(("ash", 900), ("birch", 900), ("ash", 900), ("cedar", 500), ("ash", 500), ("cedar", 500))
    assert problems(*case) == []


def test_a_less_urgent_job_before_a_more_urgent_one_is_found() -> None:
    assert problems(*served(("ash", 500), ("birch", 900)))


def test_a_tenant_out_of_turn_is_found() -> None:
    assert problems(*served(("ash", 500), ("ash", 500), ("birch", 500), ("cedar", 500)))


def test_a_job_that_ran_twice_or_never_is_found() -> None:
    backlog, executions = served(("ash", 500), ("birch", 500))
    assert problems(backlog, [*executions, executions[1]])
    assert problems(backlog, executions[:1])


def test_a_cancelled_job_that_ran_is_found() -> None:
    backlog, executions = served(("ash", 500))
    assert problems({job: Waiting("ash", 500, True) for job in backlog}, executions)
