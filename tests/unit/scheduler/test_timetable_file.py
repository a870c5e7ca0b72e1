"""The file is read at the start and when it changes; what is wrong changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.scheduler import timetable_file
from services.scheduler.avtomatika.schedules_toml import reader
from services.scheduler.clockwork import Clockwork
from services.scheduler.timetable_file import BadSchedules, TimetableFile
from shared.application.timetables import PublishTimetable
from shared.domain.schedule import Timetable
from tests.unit.scheduler.given import World

ONE = "[one]\nblueprint = 'flow'\ninterval_seconds = 10\n"
TWO = ONE + "[two]\nblueprint = 'flow'\ndaily_at = '02:00'\n"


class Watched(Clockwork):
    """Notes what is in force."""

    def __init__(self, world: World) -> None:
        super().__init__(world.firing(), lambda: world.now)
        self.named: list[list[str]] = []

    def set(self, timetable: Timetable) -> None:
        super().set(timetable)
        self.named.append(sorted(timetable.entries))


@asynccontextmanager
async def watching(world: World, file: Path | None) -> AsyncIterator[Watched]:
    clockwork, stopping = Watched(world), asyncio.Event()
    publish = PublishTimetable(world.journal, lambda: world.now)
    timetable = TimetableFile(file, reader("UTC"), publish, clockwork, tenant="default", source="test")
    await timetable.open()
    running = asyncio.create_task(timetable.run(stopping))
    try:
        yield clockwork
    finally:
        stopping.set()
        await asyncio.wait_for(running, 30)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timetable_file, "LOOK_SECONDS", 0.02)


async def test_a_bad_file_at_the_start_stops_it(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[one]\nblueprint = 'flow'\n")
    with pytest.raises(BadSchedules, match="schedule 'one': it says no time"):
        async with watching(World(), file):
            raise AssertionError("it began")


async def test_a_restart_with_a_bad_file_keeps_the_schedules_that_are_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world, file = World(), tmp_path / "s.toml"
    file.write_text(ONE)
    async with watching(world, file) as clockwork:
        await until(lambda: clockwork.named == [["one"]])
    file.write_text("[one]\nblueprint = 'flow'\n")
    async with watching(world, file) as clockwork:
        assert clockwork.named == [["one"]]
        assert "it says no time" in caplog.text
        assert "the schedules stay as they were" in caplog.text
        file.write_text(TWO)
        await until(lambda: clockwork.named == [["one"], ["one", "two"]])


async def test_changes_are_put_in_force_and_mistakes_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(ONE)
    async with watching(World(), file) as clockwork:
        await until(lambda: clockwork.named == [["one"]])
        file.write_text(TWO.replace("02:00", "25:00"))
        await until(lambda: "stay as they were" in caplog.text)
        assert "s.toml: schedule 'two': a time is" in caplog.text
        assert clockwork.named == [["one"]]
        file.write_text(TWO)
        await until(lambda: clockwork.named == [["one"], ["one", "two"]])
        file.unlink()
        await until(lambda: "No such file" in caplog.text)
        assert len(clockwork.named) == 2
        file.write_text("")
        await until(lambda: clockwork.named[-1] == [])


async def test_no_file_takes_the_schedules_of_an_earlier_one_away(tmp_path: Path) -> None:
    world, file = World(), tmp_path / "s.toml"
    file.write_text(ONE)
    for path, named in ((file, ["one"]), (None, []), (file, ["one"])):
        async with watching(world, path) as clockwork:
            await until(lambda clockwork=clockwork, named=named: clockwork.named == [named])  # type: ignore[misc]
    assert [commit.n for commit in world.journal.commits] == [1, 2, 3]


async def test_a_file_that_stays_the_same_is_written_down_once(tmp_path: Path) -> None:
    world, file = World(), tmp_path / "s.toml"
    file.write_text(ONE)
    for _ in range(2):
        async with watching(world, file) as clockwork:
            await until(lambda clockwork=clockwork: bool(clockwork.named))  # type: ignore[misc]
    assert len(world.journal.commits) == 1


async def test_a_journal_that_is_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world, file = World(), tmp_path / "s.toml"
    file.write_text(ONE)
    world.journal.down = True
    async with watching(world, file) as clockwork:
        await until(lambda: "the schedules wait to be published: no room" in caplog.text)
        world.journal.down = False
        await until(lambda: clockwork.named == [["one"]])
    assert caplog.text.count("wait to be published") == 1
