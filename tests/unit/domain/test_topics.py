"""What is stored of events: short topics, JSON primitives, defaults."""

import inspect
import types
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin

import pytest
from eventsourcing.domain import AggregateEvent
from eventsourcing.utils import get_topic, resolve_topic

from shared.domain import worker, workflow
from shared.domain.job import JobSpec, claim_events, events, node_events, wait_events
from shared.domain.job.events import JobAccepted, JobEvent, TaskOffered, made
from shared.domain.schedule import timetable
from shared.domain.topics import AGGREGATES, EVENTS
from shared.domain.values import Json
from tests.unit.domain.given import ID, NOON

HEAD = {"originator_id", "originator_version", "timestamp", "originator_topic"}


def own(event: type[AggregateEvent]) -> dict[str, Any]:
    """The fields that are stored, with their types."""
    return {field.name: field.type for field in fields(event) if field.name not in HEAD}


def is_json(hint: Any) -> bool:
    if hint in (str, int, float, bool, types.NoneType) or hint == Json:
        return True
    if get_origin(hint) in (Union, types.UnionType, list, dict):
        return all(is_json(part) for part in get_args(hint))
    return all(isinstance(part, str) for part in get_args(hint)) and bool(get_args(hint))  # Literal


def test_every_event_of_the_domain_has_its_topic() -> None:
    declared = {
        value
        for module in (events, claim_events, node_events, wait_events, workflow, worker, timetable)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, AggregateEvent)
        and value.__module__ == module.__name__
    }
    assert declared - {JobEvent, TaskOffered} == set(EVENTS.values())
    for topic, event in EVENTS.items():
        assert topic == event.__name__ == get_topic(event)
        assert resolve_topic(topic) is event


def test_every_kind_of_aggregate_has_a_topic_that_is_no_import_path() -> None:
    assert {kind: get_topic(cls) for kind, cls in AGGREGATES.items()} == {
        "job": "Job",
        "workflow": "Workflow",
        "worker": "Worker",
        "timetable": "Timetable",
    }


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.__name__)
def test_fields_are_json_and_optional_ones_have_defaults(event: type[AggregateEvent]) -> None:
    for name, hint in own(event).items():
        assert is_json(hint), (name, hint)
    for field in fields(event):
        optional = field.name in own(event) and types.NoneType in get_args(own(event)[field.name])
        assert not optional or field.default is None, field.name
        assert field.default_factory is MISSING, "the journal leaves out what equals a default"


def test_a_job_is_accepted_with_all_that_was_specified() -> None:
    specified = {field.name: field.default for field in fields(JobSpec)}
    accepted = {field.name: field.default for field in fields(JobAccepted) if field.name not in HEAD}
    assert accepted == specified


def test_an_event_made_without_its_init_is_the_same() -> None:
    head: dict[str, Any] = {"timestamp": NOON, "originator_topic": "Job"}
    quick = made(JobAccepted, ID, 1, {**head, "input": 5})
    assert quick == JobAccepted(ID, 1, NOON, "Job", input=5)
    assert quick.urgency == 500


def test_the_base_of_all_events_does_nothing_itself() -> None:
    with pytest.raises(NotImplementedError):
        JobEvent(ID, 1, NOON).mutate(
            made(JobAccepted, ID, 0, {"timestamp": NOON, "originator_topic": "Job"}).mutate(None)
        )
