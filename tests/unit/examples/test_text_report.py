"""The example does what it says, also without a system."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest

from daybook import TaskContext
from daybook.errors import InvalidInput
from examples.text_report import GRAPH, INPUT, split_text, study_chapter, worker, write_report
from shared.domain.graph import Graph


def context() -> TaskContext:
    return TaskContext(UUID(int=1), 1, 1, "study_chapter", "w1")


def reported(given: dict[str, Any]) -> dict[str, Any]:
    chapters = asyncio.run(split_text(given))["chapters"]
    studied = [study_chapter({"chapter": c, "number": n}, context()) for n, c in enumerate(chapters, 1)]
    return asyncio.run(write_report({"title": given["title"], "chapters": list(reversed(studied))}))


def test_the_graph_can_be_published_and_asks_for_skills_of_the_worker_only() -> None:
    nodes = Graph.parse(GRAPH).nodes.values()
    assert {node.skill for node in nodes if node.kind == "task"} == set(worker.skills)


def test_the_fables_are_reported_on_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report = reported(INPUT)
    assert report["chapters"] == 4
    lines = report["report"].splitlines()
    assert lines[0] == "# Four fables"
    rows = [line for line in lines if line.startswith("| The")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "The Fox and the Grapes",
        "The Crow and the Pitcher",
        "The Wind and the Sun",
        "The Tortoise and the Hare",
    ]
    assert "pitcher" in rows[1]
    assert "[job 00000000-0000-0000-0000-000000000001 task 1.1]" in caplog.text


def test_words_are_counted_in_any_script() -> None:
    report = reported({"title": "Zwei", "text": "Ein Übermut.\n# 二\nねこ、いぬ。 Don't go."})
    assert report["words"] == 6
    assert "| Zwei | 2 | 2 | 1 | übermut | ein, übermut |" in report["report"]


def test_an_empty_text_is_an_invalid_input() -> None:
    with pytest.raises(InvalidInput, match="no text"):
        asyncio.run(split_text({"text": "  "}))
