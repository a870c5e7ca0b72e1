"""What holds tasks back: pause, limits, room."""

import pytest

from shared.domain.errors import IllegalTransition, InvalidValue, NotThere
from shared.domain.job import HeldTask, JobSpec, RunHandler, StartChild, StartTimer
from shared.domain.values import Json, Status, to_us
from tests.unit.domain.given import FLAKY, NOON, Story, edge, graph, task

CHAIN = graph({"a": task(), "b": task("other")}, edge("a", "b"))


def test_a_paused_job_keeps_results_and_releases_nothing() -> None:
    story = Story(CHAIN)
    story.job.pause(story.facts, "client:a")
    story.job.pause(story.facts, "client:a")
    assert story.job.status is Status.PAUSED
    story.done("a", 1)
    assert story.events()[2:] == ["JobPaused", "TaskSucceeded", "TaskQueued"]
    assert story.job.outstanding() == []
    with pytest.raises(IllegalTransition):
        story.job.release(2, story.facts)


def test_a_resumed_job_releases_what_was_held() -> None:
    story = Story(CHAIN)
    story.job.pause(story.facts)
    story.done("a", 1)
    story.events()
    story.job.resume(story.facts, "client:a")
    story.job.resume(story.facts, "client:a")
    assert story.events() == ["JobResumed", "TaskReleased"]
    assert story.job.tasks[2].status == "released"


def test_a_resumed_job_leaves_to_the_dispatcher_what_has_no_room_or_limits() -> None:
    story = Story(CHAIN, concurrency={"key": "k", "limit": 1})
    story.job.pause(story.facts)
    story.job.resume(story.facts)
    assert story.job.outstanding() == [HeldTask(1, "work", 500, ({"key": "k", "limit": 1},))]
    story = Story(CHAIN, room=False)
    story.job.pause(story.facts)
    story.job.resume(story.facts)
    assert story.job.outstanding() == [HeldTask(1, "work", 500, ())]


def test_a_running_task_of_a_paused_job_may_end_it() -> None:
    story = Story(graph({"a": task()}))
    story.job.pause(story.facts)
    story.done("a", 1)
    assert story.job.status is Status.SUCCEEDED


def test_a_retry_of_a_paused_job_is_held() -> None:
    story = Story(CHAIN, retry={"max_attempts": 2, "jitter": 0})
    story.job.pause(story.facts)
    story.fails("a", FLAKY)
    assert [type(effect) for effect in story.job.outstanding()] == [StartTimer]
    story.events()
    story.job.wake("retry-1-2", story.facts)
    assert story.events() == ["TaskQueued"]
    story.job.resume(story.facts)
    assert story.job.tasks[1].status == "released"
    assert story.job.tasks[1].attempt == 2


def test_a_paused_job_runs_no_handler_and_starts_no_child_but_keeps_its_timers() -> None:
    nodes: dict[str, Json] = {
        "f": {"kind": "fork"},
        "h": {"kind": "state"},
        "c": {"kind": "subflow", "workflow": "w"},
        "t": {"kind": "wait", "for": "timer", "seconds": 1},
    }
    story = Story(graph(nodes, *[edge("f", name) for name in "hct"]))
    assert [type(effect) for effect in story.job.outstanding()] == [RunHandler, StartChild, StartTimer]
    story.job.pause(story.facts)
    assert [type(effect) for effect in story.job.outstanding()] == [StartTimer]


def test_a_paused_job_can_be_cancelled() -> None:
    story = Story(CHAIN)
    story.job.pause(story.facts)
    story.job.cancel(story.facts)
    assert story.job.status is Status.CANCELLED


def test_limits_of_the_job_and_of_the_node_travel_with_the_task() -> None:
    own = task(concurrency={"key": "db", "limit": 2}, rate={"key": "api", "limit": 5, "per_seconds": 60})
    story = Story(graph({"a": own}), rate={"key": "tenant", "limit": 9, "per_seconds": 1})
    assert story.events() == ["JobAccepted", "TaskQueued"]
    limits: list[dict[str, Json]] = [
        {"key": "db", "limit": 2},
        {"key": "api", "limit": 5, "per_seconds": 60},
        {"key": "tenant", "limit": 9, "per_seconds": 1},
    ]
    assert story.job.tasks[1].limits == limits
    assert story.job.outstanding() == [HeldTask(1, "work", 500, tuple(limits))]
    story.job.release(1, story.facts)
    assert story.last("TaskReleased").limits == limits


def test_a_task_with_limits_is_held_again_for_its_next_attempt() -> None:
    story = Story(CHAIN, retry={"max_attempts": 2, "base": 0}, concurrency={"key": "k", "limit": 1})
    story.job.release(1, story.facts)
    story.fails("a", FLAKY)
    assert story.job.outstanding() == [HeldTask(1, "work", 500, ({"key": "k", "limit": 1},), 2)]


def test_a_released_task_keeps_the_time_that_it_must_be_taken_by() -> None:
    story = Story(CHAIN, room=False, dispatch_timeout=10)
    story.seconds = 5
    story.job.release(1, story.facts)
    assert story.job.tasks[1].dispatch_by == to_us(NOON) + 10_000_000


def test_only_what_is_held_can_be_released() -> None:
    story = Story(CHAIN, retry={"max_attempts": 2})
    with pytest.raises(NotThere):
        story.job.release(9, story.facts)
    story.fails("a", FLAKY)
    with pytest.raises(IllegalTransition):
        story.job.release(1, story.facts)
    story.job.cancel(story.facts)
    with pytest.raises(IllegalTransition):
        story.job.release(1, story.facts)


def test_releasing_what_is_done_is_no_event() -> None:
    story = Story(CHAIN)
    story.done("a", 1)
    story.events()
    story.job.release(1, story.facts)
    story.job.release(2, story.facts)
    assert story.events() == []


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(urgency=1001),
        JobSpec(urgency=-1),
        JobSpec(dispatch_timeout=0),
        JobSpec(run_timeout=-1),
        JobSpec(retry={"max_attempts": 0}),
        JobSpec(concurrency={"key": "k"}),
        JobSpec(concurrency={"key": "", "limit": 1}),
        JobSpec(concurrency={"key": "k", "limit": 0}),
        JobSpec(rate={"key": "k", "limit": 1, "per_seconds": 0}),
        JobSpec(rate={"key": "k", "limit": 1}),
    ],
)
def test_a_specification_that_means_nothing_is_refused(spec: JobSpec) -> None:
    with pytest.raises(InvalidValue):
        spec.check()
