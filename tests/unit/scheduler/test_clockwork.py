"""Fires become jobs, each once, whatever happens to the schedulers."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.scheduler.clockwork import Clockwork
from shared.application.ids import new_id
from shared.domain.schedule import Fire
from tests.unit.scheduler.given import NOON, KilledError, World, entry

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OFTEN = {"often": entry({"every": 10})}
NIGHTLY = {"nightly": entry({"at": "12:30"}, "skip")}


@pytest.fixture
async def world() -> World:
    world = World()
    await world.publish_flow()
    return world


async def test_an_interval_fires_when_it_is_made_and_then_on_its_grid(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    await scheduler.tick()
    await world.pass_(timedelta(seconds=25), scheduler)
    assert world.planned() == ["12:00:00", "12:00:10", "12:00:20"]


async def test_the_job_is_a_background_job_of_the_default_client(world: World) -> None:
    often = entry({"every": 10}, input_data={"n": 1}, result_timeout=60, dispatch_timeout=5)
    often["job"] |= {"metadata": {"own": 1}, "security": {"by": "me"}}  # type: ignore[operator]
    scheduler = await world.scheduler({"often": often})
    await scheduler.tick()
    (job,) = world.jobs()
    (topic, data), *_ = job.events
    assert (topic, job.by) == ("JobAccepted", "system:scheduler")
    assert (data["trigger"], data["tenant"], data["owner"]) == ("schedule", "default", "client")
    assert data["tags"] == {"client": "client", "schedule": "often", "daybook.trigger": "schedule"}
    assert data["input"] == {"n": 1}
    assert data["deadline"] == 1_000_000 * int((NOON + MINUTE).timestamp())
    assert data["dispatch_timeout"] == 5
    assert data["metadata"]["own"] == 1
    assert data["metadata"]["daybook.security"] == {"by": "me"}
    assert data["metadata"]["daybook.client"] == {"plan": "system", "params": {"source": "scheduler:often"}}
    assert data["metadata"]["daybook.schedule"] == {"name": "often", "planned": "2026-11-21T12:00:00+00:00"}


async def test_the_settings_bound_how_deep_the_job_s_children_nest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_HOLARCHY_DEPTH", "2")
    await (await world.scheduler(OFTEN)).tick()
    (job,) = world.jobs()
    assert job.events[0][1]["max_depth"] == 2


async def two_schedulers(world: World, **changes: Any) -> list[UUID]:
    one, two = await world.scheduler(OFTEN), await world.scheduler(OFTEN)
    for scheduler in (one, two):
        for name, value in changes.items():
            setattr(scheduler, name, value(scheduler))
    await world.pass_(MINUTE, one, two)
    return [job.id for job in world.jobs()]


async def test_two_schedulers_make_one_job_of_each_fire(world: World) -> None:
    jobs = await two_schedulers(world)
    assert len(jobs) == len(set(jobs)) == 7


@dataclass(frozen=True)
class RandomFire(Fire):
    """What a fire must not be."""

    @property
    def job(self) -> UUID:
        return new_id()


class RandomIds:
    """Makes jobs under ids that do not follow from the fire."""

    def __init__(self, firing: Any) -> None:
        self._firing = firing

    async def fire(self, name: str, job: Any, fire: Fire) -> bool:
        made: bool = await self._firing.fire(name, job, RandomFire(fire.schedule, fire.planned))
        return made


async def test_with_random_ids_two_schedulers_would_make_two_jobs_of_each(world: World) -> None:
    jobs = await two_schedulers(world, _firing=lambda scheduler: RandomIds(scheduler._firing))
    assert len(jobs) == 14  # so the test above can fail


async def test_a_scheduler_killed_before_or_after_the_append_leaves_one_job(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    world.journal.dies = True
    with pytest.raises(KilledError):
        await scheduler.tick()
    world.journal.dies = False
    assert len(world.jobs()) == 1
    again = await world.scheduler(OFTEN)
    await again.tick()
    assert len(world.jobs()) == 1
    await world.pass_(timedelta(seconds=10))  # nobody is there
    third = await world.scheduler(OFTEN)
    await third.tick()
    assert world.planned() == ["12:00:00", "12:00:10"]


async def test_after_downtime_an_interval_is_made_up_for_once(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    await scheduler.tick()
    await world.pass_(HOUR + timedelta(seconds=5))
    again = await world.scheduler(OFTEN)
    await again.tick()
    await world.pass_(timedelta(seconds=6), again)
    assert world.planned() == ["12:00:00", "13:00:00", "13:00:10"]


@pytest.mark.parametrize(("catch_up", "made"), [("skip", []), ("once", ["12:30:00"])])
async def test_a_missed_time_of_day_is_what_the_policy_says(
    world: World, catch_up: str, made: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    nightly = {"nightly": entry({"at": "12:30"}, catch_up)}
    await world.scheduler(nightly)
    await world.pass_(HOUR)
    again = await world.scheduler(nightly)
    await again.tick()
    await again.tick()
    assert world.planned() == made
    assert caplog.text.count("was missed") == (catch_up == "skip")


async def test_a_restart_within_the_minute_loses_no_time_of_day(world: World) -> None:
    await world.scheduler(NIGHTLY)
    world.now = NOON.replace(minute=30, second=59)
    again = await world.scheduler(NIGHTLY)
    await again.tick()
    assert world.planned() == ["12:30:00"]


async def test_what_has_run_is_not_called_missed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = await world.scheduler(NIGHTLY)
    await world.pass_(HOUR, scheduler, step=30)
    again = await world.scheduler(NIGHTLY)
    await again.tick()
    assert world.planned() == ["12:30:00"]
    assert "missed" not in caplog.text


async def test_a_schedule_from_long_ago_makes_up_for_nothing_before_it_was_there(world: World) -> None:
    scheduler = await world.scheduler({"daily": entry({"at": "11:00"})})
    await world.pass_(MINUTE, scheduler)
    assert world.planned() == []


async def test_a_blueprint_that_is_not_there_yet_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    scheduler = await world.scheduler(OFTEN)
    await world.pass_(timedelta(seconds=9), scheduler)
    assert "there is no workflow 'flow'" in caplog.text
    assert caplog.text.count("there is no workflow") == 1
    await world.publish_flow()
    await world.pass_(timedelta(seconds=8), scheduler)
    assert world.planned() == ["12:00:10"]  # the newest; the one before is past


async def test_a_journal_that_refuses_is_asked_again(world: World) -> None:
    scheduler = await world.scheduler(NIGHTLY)
    world.now = NOON.replace(minute=30)
    world.journal.down = True
    await world.pass_(timedelta(seconds=5), scheduler)
    world.journal.down = False
    await world.pass_(timedelta(seconds=10), scheduler)
    assert world.planned() == ["12:30:00"]


async def test_input_that_does_not_fit_makes_no_job_and_is_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = await world.scheduler({"bad": entry({"every": 10}, input_data={"n": "x"})})
    await world.pass_(timedelta(seconds=5), scheduler)
    assert world.jobs() == []
    assert caplog.text.count("schedule 'bad': nothing runs for 2026-11-21T12:00:00+00:00") == 1
    assert "Input validation failed for blueprint 'flow'" in caplog.text


async def test_a_changed_order_does_not_make_a_second_job_of_a_fire(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    await scheduler.tick()
    changed = {"often": entry({"every": 10}, input_data={"n": 2})}
    scheduler.set(await world.publish(changed))
    other = await world.scheduler(changed)  # it has not seen the first fire
    await other.tick()
    await world.pass_(timedelta(seconds=10), scheduler, other)
    assert [job.events[0][1]["input"] for job in world.jobs()] == [{}, {"n": 2}]


async def test_what_is_taken_out_fires_no_more(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    await scheduler.tick()
    scheduler.set(await world.publish({}))
    await world.pass_(MINUTE, scheduler)
    assert len(world.jobs()) == 1


async def test_a_clock_that_is_set_back_repeats_nothing(world: World) -> None:
    scheduler = await world.scheduler(OFTEN)
    await world.pass_(timedelta(seconds=35), scheduler)
    before = world.planned()
    world.now -= timedelta(seconds=20)
    await world.pass_(timedelta(seconds=25), scheduler)
    assert world.planned() == [*before, "12:00:40"]


async def test_it_sleeps_until_something_is_due_or_changes(world: World) -> None:
    ticks = 0

    class Counting(Clockwork):
        async def tick(self) -> None:
            nonlocal ticks
            ticks += 1
            await super().tick()

    scheduler, stopping = Counting(world.firing(), lambda: world.now), asyncio.Event()
    running = asyncio.create_task(scheduler.run(stopping))
    scheduler.set(await world.publish(OFTEN))
    async with asyncio.timeout(30):
        while not world.jobs():
            await asyncio.sleep(0.01)
    stopping.set()
    await asyncio.wait_for(running, 30)
    assert ticks <= 4


async def test_fires_of_one_moment_do_not_wait_for_each_other(world: World) -> None:
    entries = {f"s{n}": entry({"every": 10}) for n in range(20)}
    entries["bad"] = entry({"every": 10}, blueprint="nobody")
    scheduler = await world.scheduler(entries)
    await scheduler.tick()
    assert len(world.jobs()) == 20
