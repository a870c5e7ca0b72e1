"""What a handler is shown of a job, and where the tasks that it asked for are stored."""

from datetime import timedelta
from typing import Any

import pytest

from shared.application.blueprint_jobs import BlueprintJob
from shared.application.blueprint_words import UPDATED
from shared.application.collecting import collected
from shared.application.ids import new_id
from shared.application.ports import Decision
from shared.blueprints.actions import action_of, view_of
from shared.broker.subjects import PLACED
from shared.domain.graph import Graph
from shared.domain.job import Emission, GoTo, Parallel, RunHandler, TaskError, TaskSpec
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import Json
from shared.journal.codec import Codec
from tests.unit.domain.given import FLAKY, Story, graph


def states() -> Graph:
    nodes: dict[str, Json] = {"first": {"kind": "state"}, "collect": {"kind": "state"}}
    return graph(nodes, entry="first")


def effect_of(story: Story) -> RunHandler:
    effect = story.job.outstanding()[0]
    assert isinstance(effect, RunHandler)
    return effect


def viewed(story: Story) -> dict[str, Any]:
    return view_of(story.job, effect_of(story))


def test_a_handler_sees_who_asked_for_the_job_and_nothing_that_is_the_servers() -> None:
    client: Json = {"plan": "gold", "params": {}}
    story = Story(
        states(),
        {"n": 1},
        metadata={"daybook.client": client, "daybook.request": "digest", "mine": 1},
        trace="00-1",
        webhook_url="https://example.org",
        policy={"allowed_skills": ["a"]},
    )
    seen = viewed(story)
    assert (seen["client"], seen["metadata"]) == (client, {"mine": 1})
    assert (seen["tracing_context"], seen["webhook_url"]) == ({"traceparent": "00-1"}, "https://example.org")
    assert (seen["policy"], seen["aggregation_results"], seen["aggregated"]) == (
        {"allowed_skills": ["a"]},
        {},
        False,
    )


def test_an_aggregator_sees_every_answer_with_its_status() -> None:
    story = Story(states(), None, retry={"max_attempts": 2, "base": 0})
    tasks = tuple(TaskSpec(skill, run_timeout=5) for skill in "abcd")
    story.job.act(1, Parallel(tasks, "collect"), story.facts)
    job, facts = story.job, story.facts
    job.succeed(1, 1, "w", {"n": 1}, facts)
    job.fail(2, 1, "w", FLAKY, facts)
    job.fail(2, 2, "w", TaskError("permanent", "broken", "PERMANENT_ERROR"), facts)
    job.fail(3, 1, "w", TaskError("cancelled", "stopped"), facts)
    for attempt in (1, 2):
        job.claim(4, attempt, "w", timedelta(seconds=60), story.facts)
        story.seconds += 6
        job.expire(story.facts)
    seen = viewed(story)
    answers = list(seen["aggregation_results"].values())
    assert seen["aggregated"]
    assert list(seen["aggregation_results"])[1] == f"task-{job.id.hex}-2-2"
    assert [answer["status"] for answer in answers] == ["success", "failure", "cancelled", "failure"]
    assert answers[0]["data"] == {"n": 1}
    assert answers[1]["error"] == {"code": "PERMANENT_ERROR", "message": "broken"}
    assert [answer.get("error", {}).get("code") for answer in answers[2:]] == [
        "CANCELLED_ERROR",
        "TIMEOUT_ERROR",
    ]


def test_the_answers_are_those_of_the_last_parallel_tasks() -> None:
    story = Story(states(), None)
    for skill in ("old", "new"):
        activation = effect_of(story).activation
        story.job.act(activation, Parallel((TaskSpec(skill),), "collect"), story.facts)
        number = max(story.job.tasks)
        story.job.succeed(number, 1, "w", skill, story.facts)
    assert [answer["data"] for answer in viewed(story)["aggregation_results"].values()] == ["new"]


def test_what_a_handler_told_of_comes_with_its_action() -> None:
    told = {"type": "GoTo", "node": "s", "events": [{"name": "e", "payload": 1}]}
    assert action_of(told) == GoTo("s", events=(Emission("e", 1),))


def test_clients_see_what_handlers_updated_as_initial_data_and_the_rest_as_history() -> None:
    job = BlueprintJob(new_id())
    job.apply("JobAccepted", {"workflow": "w", "input": {"path": "/a", "size": 1}}, 0, 1)
    job.apply("HandlerAwaited", {"activation": 1, "node": "s", "handler": "s"}, 1, 2)
    kept: Json = {"found": 3, "size": 2, UPDATED: ["size"]}
    job.apply("HandlerDecided", {"activation": 1, "action": {"type": "GoTo", "context": kept}}, 2, 3)
    assert job.initial_data == {"path": "/a", "size": 2}
    assert job.state_history == {"found": 3}
    assert job.result == 3


@pytest.mark.parametrize(("placement", "queue"), [(None, "s"), ({"max_cost": 1}, PLACED)])
def test_a_placed_task_is_in_no_skills_queue(placement: dict[str, Json] | None, queue: str) -> None:
    node: dict[str, Json] = {"kind": "task", "skill": "s"}
    story = Story(graph({"a": node if placement is None else {**node, "placement": placement}}))
    commit = Codec(EVENTS, AGGREGATES).encode(Decision("job", new_id(), collected(story.job), "client:ann"))[
        0
    ]
    assert commit.skill == queue
    assert commit.subject.endswith(f".run.{queue}")
    assert (b'"placement"' in commit.raw) is (placement is not None)
