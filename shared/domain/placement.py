"""Which worker a task goes to, when not any worker with its skill will do.

A task says what it *needs* (a worker, resources, software, artifacts, a version of the skill, a price) and by
which *strategy* one of the workers that fit is chosen. Numbers are minima, lists need one of their members,
everything else must be equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from shared.domain.errors import InvalidValue
from shared.domain.values import Json

Strategy = Literal["default", "round_robin", "least_connections", "cheapest", "best_value", "overflow"]
STRATEGIES: Final[tuple[Strategy, ...]] = (
    "default",
    "round_robin",
    "least_connections",
    "cheapest",
    "best_value",
    "overflow",
)

Facts = Mapping[str, Json]
MOST_THINGS: Final = 64
"""Devices, or artifacts, that a task may ask for."""
ANY_VERSION: Final = ("any", "unknown")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task asks of its worker; what is None or empty is not asked."""

    strategy: Strategy = "default"
    worker: str | None = None
    properties: Facts = field(default_factory=dict)
    devices: Sequence[Facts] = ()
    software: Facts = field(default_factory=dict)
    artifacts: Sequence[Facts] = ()
    extra: Facts = field(default_factory=dict)
    skill: Facts = field(default_factory=dict)
    skill_version: str | None = None
    skill_type: str | None = None
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker as placement sees it.

    `skills` are the facts of each skill by its name, `costs` what a task of a skill costs (unknown is
    infinite), `hot` the skills that it has loaded, `running` how many tasks it holds.
    """

    name: str
    skills: Mapping[str, Facts] = field(default_factory=dict)
    properties: Facts = field(default_factory=dict)
    devices: Sequence[Facts] = ()
    software: Facts = field(default_factory=dict)
    artifacts: Sequence[Facts] = ()
    extra: Facts = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    hot: frozenset[str] = frozenset()
    running: int = 0
    reputation: float = 1.0

    def cost(self, skill: str) -> float:
        return self.costs.get(skill, float("inf"))


def needs_of(placement: Facts) -> Needs:
    """The needs as an event holds them. Raises InvalidValue for what cannot be read.

    What stands in `resources` may be the resources themselves, or hold them beside `installed_software`,
    `installed_artifacts`, `extra_requirements` and `skill`.
    """
    wanted = _mapping(placement, "resources")
    nested = any(name in wanted for name in _BESIDE)
    resources = _mapping(wanted, "resources") if nested else wanted
    flat = {name: value for name, value in resources.items() if name not in ("properties", "devices")}
    return Needs(
        strategy=_strategy(placement),
        worker=_text(placement, "worker"),
        properties={**flat, **_mapping(resources, "properties")},
        devices=_facts(resources, "devices"),
        software={**_mapping(wanted, "installed_software"), **_mapping(placement, "software")},
        artifacts=[*_facts(wanted, "installed_artifacts"), *_facts(placement, "artifacts")],
        extra=_mapping(wanted, "extra_requirements"),
        skill=_mapping(wanted, "skill"),
        skill_version=_text(placement, "skill_version"),
        skill_type=_text(placement, "skill_type"),
        max_cost=_number(placement, "max_cost"),
    )


def fits(candidate: Candidate, skill: str, needs: Needs) -> bool:
    """Whether the worker may have the task at all."""
    known = candidate.skills.get(skill)
    return (
        known is not None
        and needs.worker in (None, candidate.name)
        and needs.skill_version in (None, known.get("version"))
        and needs.skill_type in (None, known.get("type"))
        and _equal(known, needs.skill)
        and _meets(candidate.properties, needs.properties)
        and _has_devices(candidate.devices, needs.devices)
        and _has_software(candidate.software, needs.software)
        and all(any(_is_artifact(own, one) for own in candidate.artifacts) for one in needs.artifacts)
        and all(candidate.extra.get(name) == value for name, value in needs.extra.items())
        and (needs.max_cost is None or candidate.cost(skill) <= needs.max_cost)
    )


def chosen(
    candidates: Sequence[Candidate],
    skill: str,
    needs: Needs,
    given: Mapping[str, int],
    soft_limit: int = 3,
) -> Candidate | None:
    """The worker that gets the task; None when none fits.

    `given` tells when each worker last got a task in turn, as a growing number; a worker that takes no part
    yet is first. From `soft_limit` tasks on, `overflow` goes to the next dearer worker.
    """
    fitting = sorted((each for each in candidates if fits(each, skill, needs)), key=lambda each: each.name)
    if not fitting:
        return None
    match needs.strategy:
        case "round_robin":
            return min(fitting, key=lambda each: given.get(each.name, 0))
        case "least_connections":
            return min(fitting, key=lambda each: each.running)
        case "cheapest":
            return min(fitting, key=lambda each: each.cost(skill))
        case "best_value":
            return min(fitting, key=lambda each: _value(each, skill))
        case "overflow":
            by_cost = sorted(fitting, key=lambda each: each.cost(skill))
            return next((each for each in by_cost if each.running < soft_limit), by_cost[0])
        case _:
            return min(fitting, key=lambda each: (skill not in each.hot, each.cost(skill), -each.reputation))


_BESIDE: Final = ("resources", "installed_software", "installed_artifacts", "extra_requirements", "skill")


def _value(candidate: Candidate, skill: str) -> float:
    return candidate.cost(skill) / candidate.reputation if candidate.reputation else float("inf")


def _equal(skill: Facts, wanted: Facts) -> bool:
    properties = _known(skill)
    return all(skill.get(name, properties.get(name)) == value for name, value in wanted.items())


def _meets(own: Facts, wanted: Facts) -> bool:
    return all(name in own and _is_enough(own[name], value) for name, value in wanted.items())


def _is_enough(own: Json, wanted: Json) -> bool:
    """At least the number, one of the list, or the very value."""
    if isinstance(wanted, bool) or isinstance(own, bool):
        return own is wanted
    if isinstance(wanted, int | float) and isinstance(own, int | float):
        return own >= wanted
    if isinstance(wanted, list):
        return any(each in wanted for each in own) if isinstance(own, list) else own in wanted
    return wanted in own if isinstance(own, list) else own == wanted


def _has_devices(own: Sequence[Facts], wanted: Sequence[Facts]) -> bool:
    """Each wanted device is another one of the worker's: a matching, found by augmenting paths.

    To try all ways in turn would take factorial time where one device is missing.
    """
    given: dict[int, int] = {}

    def find(number: int, looked_at: set[int]) -> bool:
        for place, device in enumerate(own):
            if place in looked_at or not _is_device(device, wanted[number]):
                continue
            looked_at.add(place)
            if place not in given or find(given[place], looked_at):
                given[place] = number
                return True
        return False

    return len(wanted) <= len(own) and all(find(number, set()) for number in range(len(wanted)))


def _is_device(own: Facts, wanted: Facts) -> bool:
    model, wanted_model = str(own.get("model") or ""), str(wanted.get("model") or "")
    return (
        wanted.get("type") in (None, "", own.get("type"))
        and wanted_model.lower() in model.lower()
        and wanted.get("id") in (None, "", own.get("id"))
        and _meets(_known(own), _mapping(wanted, "properties"))
    )


def _has_software(own: Facts, wanted: Facts) -> bool:
    return all(
        name in own and (version in ANY_VERSION or own[name] == version) for name, version in wanted.items()
    )


def _is_artifact(own: Facts, wanted: Facts) -> bool:
    return (
        own.get("name") == wanted.get("name")
        and wanted.get("version") in (None, *ANY_VERSION, own.get("version"))
        and _meets(_known(own), _mapping(wanted, "properties"))
    )


def _known(own: Facts) -> Facts:
    """The properties of a worker's thing; whatever else it says there is none."""
    properties = own.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _strategy(placement: Facts) -> Strategy:
    wanted = placement.get("strategy") or "default"
    for strategy in STRATEGIES:
        if strategy == wanted:
            return strategy
    raise InvalidValue(f"placement: strategy must be one of {', '.join(STRATEGIES)}, not {wanted!r}")


def _mapping(facts: Facts, name: str) -> dict[str, Json]:
    value = facts.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidValue(f"placement: {name} must be an object, not {value!r}")
    return value


def _facts(facts: Facts, name: str) -> list[Facts]:
    """A list of things; a thing that is only a name stands for that. Raises InvalidValue."""
    value = facts.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidValue(f"placement: {name} must be a list, not {value!r}")
    things: list[Facts] = [each if isinstance(each, dict) else {"name": each} for each in value]
    if len(things) > MOST_THINGS:
        raise InvalidValue(f"placement: {name} must be at most {MOST_THINGS}, not {len(things)}")
    for thing in things:
        _mapping(thing, "properties")
    return things


def _text(facts: Facts, name: str) -> str | None:
    value = facts.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidValue(f"placement: {name} must be a string, not {value!r}")


def _number(facts: Facts, name: str) -> float | None:
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValue(f"placement: {name} must be a number, not {value!r}")
    return float(value)
