"""Histories that were stored once fold to the state that they were stored for, by today's domain."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.application.ports import StoredCommit
from shared.application.summary import JobSummary
from shared.domain.topics import AGGREGATES, EVENTS
from shared.journal.chain import tip_of, verify
from tests.replay.record import CODEC, HISTORIES, STORIES, state_of

FILES = sorted(HISTORIES.glob("*.json"))


def read(path: Path) -> tuple[dict[str, Any], list[StoredCommit]]:
    history: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    commits = [
        CODEC.decode(number, commit["subject"], commit["body"].encode())
        for number, commit in enumerate(history["commits"], 1)
    ]
    return history, commits


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_history_folds_to_the_state_it_was_stored_for(path: Path) -> None:
    history, commits = read(path)
    aggregate = CODEC.fold(AGGREGATES[history["kind"]], commits)
    assert aggregate is not None
    assert json.loads(json.dumps(state_of(aggregate))) == history["state"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_history_is_a_chain_without_gaps(path: Path) -> None:
    _, commits = read(path)
    assert verify(commits) == tip_of(commits[-1].raw)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_summary_of_a_stored_job_has_its_status(path: Path) -> None:
    history, commits = read(path)
    if history["kind"] != "job":
        return
    summary = JobSummary(id=str(commits[0].id))
    for commit in commits:
        for topic, data in commit.events:
            summary.apply(topic, data, commit.at, commit.sequence)
    assert summary.status == history["state"]["status"]


def test_there_is_a_history_of_every_story_and_every_event() -> None:
    assert {path.stem for path in FILES} >= STORIES.keys()
    stored = {topic for path in FILES for commit in read(path)[1] for topic, _ in commit.events}
    assert stored == set(EVENTS)
