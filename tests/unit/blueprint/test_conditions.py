"""Conditions: what they look at, and that nothing makes them raise."""

from types import SimpleNamespace
from typing import Any

import pytest

from daybook import F
from daybook.blueprint import Condition

JOB = SimpleNamespace(
    job_id="j1",
    initial_data={
        "type": "urgent",
        "priority": 9,
        "tags": ["a", "vip"],
        "user": {"role": "admin", "age": None},
    },
    state_history={"n": 3, "orders": [{"sum": 5}, {"sum": 50}], "matrix": [[1], [2, 3]], "text": "all done"},
)
DATA, HISTORY = F.initial_data, F.state_history


def half(value: Any) -> bool:
    return bool(value / 2 == 1.5)


@pytest.mark.parametrize(
    "condition",
    [
        DATA["type"] == "urgent",
        DATA["type"] != "calm",
        DATA.type == "urgent",
        DATA["user"]["role"].in_(["admin", "mod"]),
        DATA.user.role.not_in(["guest"]),
        (DATA["priority"] >= 8) & (DATA["priority"] < 10),
        (DATA["priority"] > 100) | (DATA["priority"] <= 9),
        ~(DATA["type"] == "calm"),
        ~DATA["nowhere"],
        ~DATA["nowhere"]["deeper"],
        (DATA["type"] == "calm").not_(),
        HISTORY["text"].regexp(r"done$"),
        HISTORY["text"].startswith("all"),
        HISTORY["text"].upper() == "ALL DONE",
        HISTORY["n"].func(half),
        HISTORY["n"].cast(str) == "3",
        HISTORY["n"],
        (DATA["tags"][...] == "vip").any(),
        (DATA["tags"][...] != "x").all(),
        (HISTORY["orders"][...]["sum"] > 10).any(),
        (HISTORY["orders"][...]["sum"] > 1),
        (HISTORY["matrix"][...][...] == 3).any(),
        DATA["tags"].contains("vip"),
        DATA["tags"].len() == 2,
        DATA["user"]["age"].is_(None),
        DATA["type"].is_not(None),
        DATA["priority"] > HISTORY["n"],
        (F.job_id == "j1") & DATA["type"],
    ],
    ids=repr,
)
def test_a_condition_that_is_true_of_the_job_holds(condition: Condition) -> None:
    assert condition.holds(JOB)
    assert not (~condition).holds(JOB)


@pytest.mark.parametrize(
    "condition",
    [
        DATA["nowhere"] == "x",
        DATA["nowhere"] != "x",
        DATA["nowhere"] == None,  # noqa: E711 (a condition)
        DATA["type"] > 5,
        DATA["user"]["age"]["years"] == 1,
        DATA["user"]["age"].years == 1,
        F.nothing.at_all,
        DATA["priority"].regexp("9"),
        DATA["type"].func(half),
        DATA["type"]["x"],
        DATA["type"](),
        (DATA["nowhere"][...] == 1).any(),
        (DATA["nowhere"][...] == 1).all(),
        DATA["nowhere"][...] == 1,
        (DATA["type"][...] == "u").any(),
        DATA["nowhere"].not_in([1]),
        DATA["priority"] > HISTORY["nowhere"],
        (HISTORY["orders"][...]["sum"] > 10).all(),
        DATA["priority"].func(lambda value: 1 / 0),
    ],
    ids=repr,
)
def test_what_is_missing_or_cannot_be_compared_is_false_and_no_error(condition: Condition) -> None:
    assert not condition.holds(JOB)


def test_a_condition_cannot_be_asked_before_there_is_a_job() -> None:
    with pytest.raises(TypeError, match="write &"):
        bool(DATA["type"] == "urgent")
    with pytest.raises(AttributeError):
        _ = DATA.__wrapped__


def test_a_condition_says_what_it_is() -> None:
    assert repr((DATA["n"] == 1) & ~F.attr_("len")) == "(F.initial_data['n'] == 1 & ~F.len)"
    assert len({F, DATA}) == 2
