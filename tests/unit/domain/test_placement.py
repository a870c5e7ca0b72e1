"""Which worker a placed task goes to."""

from collections.abc import Mapping
from time import process_time

import pytest

from shared.domain.errors import InvalidValue
from shared.domain.graph import validate
from shared.domain.job.actions import Dispatch, GoTo, Parallel, TaskSpec, check
from shared.domain.placement import Candidate, Needs, chosen, fits, needs_of
from shared.domain.values import Json


def worker(name: str = "w1", **more: object) -> Candidate:
    facts: dict[str, object] = {"skills": {"render": {"version": "2.0", "type": "gpu"}}, **more}
    return Candidate(name, **facts)  # type: ignore[arg-type]  # each test gives what it is about


STRONG = worker(
    properties={"ram_gb": 64, "zones": ["eu", "us"], "ssd": True, "os": "linux"},
    devices=[
        {"type": "gpu", "model": "NVIDIA RTX 4090", "id": "g0", "properties": {"vram_gb": 24}},
        {"type": "gpu", "model": "NVIDIA T4", "id": "g1", "properties": {"vram_gb": 16}},
    ],
    software={"python": "3.11", "ffmpeg": "6"},
    artifacts=[{"name": "llama", "version": "3", "properties": {"size": 70}}],
    extra={"region": "north"},
    costs={"render": 2.0},
)


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {"worker": "w1"},
        {"skill_version": "2.0", "skill_type": "gpu"},
        {"max_cost": 2},
        {"resources": {"ram_gb": 32}},
        {"resources": {"properties": {"ram_gb": 64, "ssd": True, "os": "linux"}}},
        {"resources": {"zones": ["asia", "eu"]}},
        {"resources": {"zones": "us", "os": ["linux", "bsd"]}},
        {"resources": {"devices": [{"type": "gpu"}, {"model": "rtx", "properties": {"vram_gb": 24}}]}},
        {"resources": {"devices": [{"id": "g1"}]}},
        {
            "resources": {
                "resources": {"ram_gb": 1},
                "installed_software": {"python": "3.11", "ffmpeg": "any"},
            }
        },
        {"resources": {"installed_artifacts": ["llama", {"name": "llama", "version": "3"}]}},
        {"resources": {"extra_requirements": {"region": "north"}, "skill": {"version": "2.0"}}},
        {"software": {"python": "3.11"}, "artifacts": [{"name": "llama", "properties": {"size": 70}}]},
    ],
)
def test_a_worker_that_has_what_is_asked_fits(placement: Mapping[str, Json]) -> None:
    assert fits(STRONG, "render", needs_of(placement))


@pytest.mark.parametrize(
    "placement",
    [
        {"worker": "w2"},
        {"skill_version": "1.0"},
        {"skill_type": "cpu"},
        {"max_cost": 1.9},
        {"resources": {"ram_gb": 65}},
        {"resources": {"ssd": 1}},
        {"resources": {"disk": 1}},
        {"resources": {"os": "bsd"}},
        {"resources": {"zones": ["asia"]}},
        {"resources": {"zones": "asia"}},
        {"resources": {"devices": [{"model": "a100"}]}},
        {"resources": {"devices": [{"type": "gpu"}, {"type": "gpu"}, {"type": "gpu"}]}},
        {"resources": {"devices": [{"id": "g0", "properties": {"vram_gb": 25}}]}},
        {"resources": {"installed_software": {"python": "3.12"}}},
        {"software": {"blender": "any"}},
        {"artifacts": ["mistral"]},
        {"artifacts": [{"name": "llama", "version": "4"}]},
        {"artifacts": [{"name": "llama", "properties": {"size": 71}}]},
        {"resources": {"extra_requirements": {"region": "south"}}},
        {"resources": {"skill": {"precision": "fp8"}}},
    ],
)
def test_a_worker_that_lacks_something_does_not_fit(placement: Mapping[str, Json]) -> None:
    assert not fits(STRONG, "render", needs_of(placement))


def test_a_worker_that_says_nonsense_of_its_things_only_does_not_fit() -> None:
    odd = worker(
        devices=[{"type": "gpu", "properties": "24 GB"}], artifacts=[{"name": "llama", "properties": 7}]
    )
    assert fits(
        odd, "render", needs_of({"resources": {"devices": [{"type": "gpu"}]}, "artifacts": ["llama"]})
    )
    wanted: dict[str, Json] = {"devices": [{"type": "gpu", "properties": {"vram_gb": 1}}]}
    assert not fits(odd, "render", needs_of({"resources": wanted}))
    assert not fits(odd, "render", needs_of({"artifacts": [{"name": "llama", "properties": {"size": 1}}]}))


def test_a_device_that_is_picky_gets_the_one_that_an_easy_one_would_have_taken() -> None:
    easy: dict[str, Json] = {"type": "gpu"}
    picky: dict[str, Json] = {"type": "gpu", "properties": {"vram_gb": 24}}
    assert fits(STRONG, "render", needs_of({"resources": {"devices": [easy, picky]}}))


def test_many_devices_of_which_one_is_missing_are_compared_in_no_time() -> None:
    big, small = {"type": "gpu", "properties": {"vram_gb": 24}}, {"type": "gpu"}
    many = worker(devices=[*[big] * 29, *[small] * 31])
    began = process_time()
    assert not fits(many, "render", needs_of({"resources": {"devices": [big] * 30}}))  # type: ignore[list-item]
    assert fits(many, "render", needs_of({"resources": {"devices": [big] * 29}}))  # type: ignore[list-item]
    assert process_time() - began < 5


def test_what_a_skill_has_of_its_own_may_be_asked_for() -> None:
    skilled = worker(skills={"render": {"properties": {"precision": "fp8"}}})
    assert fits(skilled, "render", needs_of({"resources": {"skill": {"precision": "fp8"}}}))


def test_nobody_fits_a_skill_that_they_do_not_have() -> None:
    assert not fits(STRONG, "sing", Needs())
    assert chosen([STRONG], "sing", Needs(), {}) is None


def test_an_unknown_price_is_above_every_limit() -> None:
    assert not fits(worker(), "render", Needs(max_cost=1e9))


@pytest.mark.parametrize(
    ("placement", "word"),
    [
        ({"strategy": "fastest"}, "strategy"),
        ({"worker": 3}, "worker"),
        ({"max_cost": "cheap"}, "max_cost"),
        ({"max_cost": True}, "max_cost"),
        ({"resources": []}, "resources"),
        ({"artifacts": {"name": "llama"}}, "artifacts"),
        ({"artifacts": ["llama"] * 65}, "artifacts"),
        ({"artifacts": [{"name": "llama", "properties": 5}]}, "properties"),
        ({"resources": {"devices": [{"type": "gpu", "properties": ["vram_gb"]}]}}, "properties"),
    ],
)
def test_needs_that_make_no_sense_are_refused(placement: Mapping[str, Json], word: str) -> None:
    with pytest.raises(InvalidValue, match=word):
        needs_of(placement)


CHEAP = worker("cheap", costs={"render": 1.0}, running=5, reputation=0.2)
DEAR = worker("dear", costs={"render": 3.0}, running=1, reputation=1.0)
MIDDLE = worker("middle", costs={"render": 2.0}, running=2, reputation=0.9)
ALL = [DEAR, CHEAP, MIDDLE]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("default", "cheap"),
        ("cheapest", "cheap"),
        ("least_connections", "dear"),
        ("best_value", "middle"),
        ("overflow", "middle"),
    ],
)
def test_a_strategy_chooses_among_those_that_fit(strategy: str, expected: str) -> None:
    best = chosen(ALL, "render", needs_of({"strategy": strategy}), {})
    assert best is not None
    assert best.name == expected


def test_by_default_a_worker_that_has_the_skill_loaded_comes_first() -> None:
    hot = worker("hot", costs={"render": 9.0}, hot=frozenset({"render"}))
    best = chosen([*ALL, hot], "render", Needs(), {})
    assert best is hot


def test_by_default_a_better_reputation_decides_between_equal_prices() -> None:
    poor, good = worker("a", reputation=0.5), worker("b", reputation=0.8)
    assert chosen([poor, good], "render", Needs(), {}) is good


def test_round_robin_takes_who_had_nothing_for_the_longest_time() -> None:
    needs = Needs(strategy="round_robin")
    given: dict[str, int] = {}
    order = []
    for turn in range(1, 7):
        best = chosen(ALL, "render", needs, given)
        assert best is not None
        order.append(best.name)
        given[best.name] = turn
    assert order == ["cheap", "dear", "middle"] * 2


def test_overflow_stays_with_the_cheapest_when_all_are_full() -> None:
    full = [worker("a", costs={"render": 1.0}, running=3), worker("b", costs={"render": 2.0}, running=9)]
    best = chosen(full, "render", Needs(strategy="overflow"), {}, soft_limit=3)
    assert best is full[0]


def test_a_worker_without_reputation_has_no_value() -> None:
    bad = worker("bad", costs={"render": 0.1}, reputation=0.0)
    assert chosen([bad, MIDDLE], "render", Needs(strategy="best_value"), {}) is MIDDLE


def test_a_graph_or_a_handler_that_asks_for_what_makes_no_sense_is_refused_at_once() -> None:
    nonsense: dict[str, Json] = {"strategy": "fastest"}
    graph: dict[str, Json] = {
        "nodes": {"n": {"kind": "task", "skill": "render", "placement": nonsense}},
        "edges": [],
    }
    assert any("strategy" in problem for problem in validate(graph))
    task = TaskSpec("render", placement=nonsense)
    for action in (Dispatch(task, {}), Parallel((TaskSpec("sing"), task), "join")):
        with pytest.raises(InvalidValue, match="strategy"):
            check(action)
    check(Dispatch(TaskSpec("render", placement={"worker": "w1"}), {}))
    check(GoTo("n"))
