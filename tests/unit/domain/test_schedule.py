"""Planned times, fires, and the timetable that holds the schedules of one source."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidValue
from shared.domain.schedule import (
    Calendar,
    Every,
    Fire,
    Recurrence,
    Schedule,
    Timetable,
    newest,
    recurrence_of,
    schedule_id,
    zone_of,
)
from shared.domain.values import Json
from tests.unit.domain.given import NOON

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(recurrence: Recurrence, after: str, count: int) -> list[str]:
    """The next planned times in UTC, to the minute."""
    found, moment = [], utc(after)
    for _ in range(count):
        moment = recurrence.after(moment)
        found.append(moment.strftime("%Y-%m-%dT%H:%M"))
    return found


def test_an_interval_begins_when_it_was_made_and_stays_on_its_grid() -> None:
    every = Every(HOUR, utc("2026-01-01T10:20"))
    assert times(every, "2025-01-01", 2) == ["2026-01-01T10:20", "2026-01-01T11:20"]
    assert times(every, "2026-01-01T11:20", 1) == ["2026-01-01T12:20"]
    assert times(every, "2026-01-01T12:19", 1) == ["2026-01-01T12:20"]


def test_a_day_of_the_week_and_a_date_must_both_fit() -> None:
    fridays = Calendar(time(23), UTC, frozenset({4}))
    assert times(fridays, "2026-11-21", 2) == ["2026-11-27T23:00", "2026-12-04T23:00"]
    ends = Calendar(time(8), UTC, dates=frozenset({1, 31}))
    assert times(ends, "2026-11-21", 3) == ["2026-12-01T08:00", "2026-12-31T08:00", "2027-01-01T08:00"]
    friday_13th = Calendar(time(0), UTC, frozenset({4}), frozenset({13}))
    assert times(friday_13th, "2026-11-21", 1) == ["2027-08-13T00:00"]


def test_the_clock_of_the_zone_counts() -> None:
    daily = Calendar(time(9), BERLIN)
    assert times(daily, "2026-03-27T12:00", 3) == ["2026-03-28T08:00", "2026-03-29T07:00", "2026-03-30T07:00"]


def test_a_time_that_the_clocks_skip_comes_as_much_later_as_was_skipped() -> None:
    daily = Calendar(time(2, 30), BERLIN)
    gap = daily.after(utc("2026-03-28T12:00"))
    assert gap == utc("2026-03-29T01:30")
    assert gap.astimezone(BERLIN).strftime("%H:%M") == "03:30"
    assert daily.after(gap) == utc("2026-03-30T00:30")


def test_of_a_time_that_comes_twice_the_first_is_meant_and_it_comes_once() -> None:
    daily = Calendar(time(2, 30), BERLIN)
    fold = daily.after(utc("2026-10-24T12:00"))
    assert fold == utc("2026-10-25T00:30")
    assert daily.after(fold) == utc("2026-10-26T01:30")


def test_a_date_that_a_zone_jumped_over_makes_no_second_time() -> None:
    apia = Calendar(time(9), ZoneInfo("Pacific/Apia"))
    assert times(apia, "2011-12-29T18:00", 3) == ["2011-12-29T19:00", "2011-12-30T19:00", "2011-12-31T19:00"]


RECURRENCES = st.one_of(
    st.builds(Every, st.timedeltas(MINUTE, 400 * DAY), MOMENTS),
    st.builds(
        Calendar,
        st.times(),
        st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]),
        st.frozensets(st.integers(0, 6)),
        st.just(frozenset[int]()),
    ),
)


@given(recurrence=RECURRENCES, moment=MOMENTS)
def test_planned_times_only_go_forward_and_none_lies_between(
    recurrence: Recurrence, moment: datetime
) -> None:
    first = recurrence.after(moment)
    assert moment < first < recurrence.after(first)
    assert recurrence.after(first - timedelta(microseconds=1)) == first
    assert recurrence.after(moment + (first - moment) / 2) in (first, recurrence.after(first))


@given(recurrence=RECURRENCES, after=MOMENTS, span=st.timedeltas(-DAY, 30 * DAY))
def test_the_newest_time_is_the_last_one_that_has_come(
    recurrence: Recurrence, after: datetime, span: timedelta
) -> None:
    until = after + span
    found = newest(recurrence, after, until)
    if found is None:
        assert recurrence.after(after) > until
    else:
        assert after < found <= until < recurrence.after(found)


def test_the_newest_of_a_year_of_seconds_is_found_without_walking_the_year() -> None:
    class Counted(Every):
        asked = 0

        def after(self, moment: datetime) -> datetime:
            Counted.asked += 1
            return super().after(moment)

    last = newest(Counted(timedelta(seconds=1), NOON), NOON, NOON + 365 * DAY)
    assert last == NOON + 365 * DAY
    assert Counted.asked < 4_000


def test_the_newest_of_times_that_are_far_apart_is_found_too() -> None:
    every = Every(300 * DAY, NOON)
    assert newest(every, NOON, NOON + 850 * DAY) == NOON + 600 * DAY
    assert newest(every, NOON, NOON + 250 * DAY) is None


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ({}, "neither an interval nor a time of day"),
        ({"cron": "* * * * *"}, "neither"),
        ({"every": 5, "at": "02:00"}, "neither"),
        ({"every": 5, "dates": [1]}, "neither"),
        ({"every": 0}, "at least 1, not 0"),
        ({"every": True}, "not True"),
        ({"every": 1.5}, "not 1.5"),
        ({"at": "2:00"}, "like \"02:00\", not '2:00'"),
        ({"at": "24:00"}, "not '24:00'"),
        ({"at": "12:60"}, "not '12:60'"),
        ({"at": "ab:cd"}, "not 'ab:cd'"),
        ({"at": "\u0660\u0662:\u0660\u0660"}, "HH:MM"),
        ({"at": 200}, "not 200"),
        ({"at": "02:00", "weekdays": ["monday"]}, "mon, tue, wed"),
        ({"at": "02:00", "weekdays": []}, "weekdays"),
        ({"at": "02:00", "weekdays": "mon"}, "weekdays"),
        ({"at": "02:00", "dates": []}, "not \\[\\]"),
        ({"at": "02:00", "dates": 1}, "not 1"),
        ({"at": "02:00", "dates": [0]}, "from 1 to 31, not 0"),
        ({"at": "02:00", "dates": [32]}, "not 32"),
        ({"at": "02:00", "dates": [True]}, "not True"),
        ({"at": "02:00", "dates": ["1"]}, "not '1'"),
    ],
)
def test_what_makes_no_recurrence_is_said(when: dict[str, Json], why: str) -> None:
    with pytest.raises(InvalidValue, match=why):
        recurrence_of(when, "UTC", NOON)


def test_a_recurrence_is_read_as_it_is_written() -> None:
    assert recurrence_of({"every": 60}, "UTC", NOON) == Every(MINUTE, NOON)
    document: dict[str, Json] = {"at": "02:05", "weekdays": ["mon", "sun"], "dates": [7]}
    expected = Calendar(time(2, 5), BERLIN, frozenset({0, 6}), frozenset({7}))
    assert recurrence_of(document, "Europe/Berlin", NOON) == expected


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../../etc/passwd", "CET-1CEST,M3.5.0"])
def test_a_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="no time zone that this machine knows"):
        zone_of(name)


def hourly(catch_up: Any = "once", since: datetime = NOON) -> Schedule:
    return Schedule(schedule_id("t", "file", "hourly"), Every(HOUR, since), since, catch_up)


def test_a_fire_makes_the_same_job_for_every_scheduler_and_another_for_every_time() -> None:
    fire = hourly().due(NOON)
    assert fire is not None
    assert fire.job == hourly().due(NOON + MINUTE).job  # type: ignore[union-attr]
    assert fire.job == Fire(fire.schedule, fire.planned.astimezone(BERLIN)).job
    assert fire.job.version == 5
    others = {hourly().due(NOON + n * HOUR).job for n in range(5)}  # type: ignore[union-attr]
    assert len(others) == 5
    assert Fire(schedule_id("t", "file", "other"), fire.planned).job != fire.job


def test_only_the_last_of_the_times_that_have_come_is_due() -> None:
    schedule = hourly()
    assert schedule.due(NOON - MINUTE) is None
    fire = schedule.due(NOON + 5 * HOUR + MINUTE)
    assert fire is not None
    assert fire.planned == NOON + 5 * HOUR
    assert schedule.due(NOON + 5 * HOUR + MINUTE, fire.planned) is None
    assert schedule.next_after(fire.planned) == NOON + 6 * HOUR
    assert schedule.next_after(NOON - 9 * DAY) == NOON


def test_a_schedule_that_makes_up_for_nothing_misses_what_is_a_minute_late() -> None:
    for schedule, missed in ((hourly("skip"), True), (hourly("once"), False)):
        fire = schedule.due(NOON + 2 * MINUTE)
        assert fire is not None
        assert not schedule.is_missed(fire, NOON + MINUTE)
        assert schedule.is_missed(fire, NOON + 2 * MINUTE) is missed


def test_nothing_is_due_from_before_the_schedule_was_there() -> None:
    daily = Schedule(schedule_id("t", "file", "daily"), Calendar(time(11), UTC), NOON)
    assert daily.due(NOON + HOUR) is None
    assert daily.due(NOON + DAY) == Fire(daily.id, NOON + DAY - HOUR)


def entry(when: dict[str, Json], **more: Any) -> dict[str, Json]:
    return {"when": when, "zone": "UTC", "catch_up": "once", "job": {"workflow": "w"}, **more}


def happened(timetable: Timetable) -> list[str]:
    return [type(event).__name__ for event in timetable.collect_events()]


def test_the_same_timetable_again_is_no_event_and_nothing_is_one_too() -> None:
    timetable = Timetable.named("t", "file", NOON)
    timetable.publish({}, now=NOON)
    timetable.publish({"a": entry({"every": 60})}, now=NOON)
    timetable.publish({"a": entry({"every": 60})}, now=NOON + HOUR)
    assert happened(timetable) == ["TimetablePublished"]
    timetable.publish({}, now=NOON)
    assert timetable.schedules() == {}
    assert happened(timetable) == ["TimetablePublished"]


def test_a_schedule_counts_from_when_its_times_were_set() -> None:
    timetable = Timetable.named("t", "file", NOON)
    first = {"a": entry({"every": 60}), "b": entry({"at": "02:00"})}
    timetable.publish(first, now=NOON)
    changed = {
        "a": entry({"every": 60}, job={"workflow": "other"}, catch_up="skip"),
        "b": entry({"at": "02:00"}, zone="Europe/Berlin"),
        "c": entry({"every": 5}),
    }
    timetable.publish(changed, now=NOON + HOUR)
    schedules = timetable.schedules()
    assert {name: schedule.since for name, schedule in schedules.items()} == {
        "a": NOON,
        "b": NOON + HOUR,
        "c": NOON + HOUR,
    }
    assert schedules["a"].catch_up == "skip"
    assert timetable.job("a") == {"workflow": "other"}
    assert schedules["a"].id == schedule_id("t", "file", "a")


def test_one_schedule_that_is_wrong_keeps_all_as_they_were() -> None:
    timetable = Timetable.named("t", "file", NOON)
    timetable.publish({"a": entry({"every": 60})}, now=NOON)
    for wrong, why in (
        (entry({"every": 0}), "schedule 'b': an interval is"),
        (entry({"at": "02:00"}, zone="Mars"), "schedule 'b': 'Mars' is no time zone"),
        (entry({"every": 1}, catch_up="all"), "schedule 'b': catch_up is once or skip, not 'all'"),
    ):
        with pytest.raises(InvalidValue, match=why):
            timetable.publish({"c": entry({"every": 1}), "b": wrong}, now=NOON)
    assert list(timetable.schedules()) == ["a"]
    assert happened(timetable) == ["TimetablePublished"]


def test_the_events_fold_to_the_same_timetable() -> None:
    timetable = Timetable.named("t", "file", NOON)
    timetable.publish({"a": entry({"every": 60})}, now=NOON)
    timetable.publish({"b": entry({"at": "02:00"})}, now=NOON)
    folded: Any = None
    for event in timetable.collect_events():
        folded = event.mutate(folded)
    assert folded == timetable
    assert folded.schedules() == timetable.schedules()
