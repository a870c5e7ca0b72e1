"""The file of schedules: the original's format, and nothing in it passed over."""

from pathlib import Path
from typing import Any

import pytest

from services.scheduler.avtomatika.schedules_toml import reader
from services.scheduler.timetable_file import BadSchedules

EXAMPLE = """
[cleanup_job]
blueprint = "system_cleanup"
interval_seconds = 3600
input_data = { target = "temp_files" }

[daily_report]
blueprint = "generate_report"
daily_at = "09:00" # in TZ
input_data = { type = "full_daily" }
dispatch_timeout = 60
result_timeout = 600
security = { role = "reader" }
metadata = { team = "blue" }

[weekly_backup]
blueprint = "full_backup"
weekly_days = ["Fri", "sun"]
time = "23:00"

["rent and wages"]
blueprint = "pay"
monthly_dates = [1, 31]
time = "08:00"
timezone = "America/New_York"
catch_up = "once"
"""


def read(tmp_path: Path, text: str, zone: str = "Europe/Moscow") -> dict[str, Any]:
    file = tmp_path / "schedules.toml"
    file.write_text(text)
    return {name: dict(entry) for name, entry in reader(zone)(file).items()}


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    entries = read(tmp_path, EXAMPLE)
    assert entries["cleanup_job"] == {
        "when": {"every": 3600},
        "zone": "Europe/Moscow",
        "catch_up": "once",
        "job": {"blueprint": "system_cleanup", "input_data": {"target": "temp_files"}},
    }
    assert entries["daily_report"] == {
        "when": {"at": "09:00"},
        "zone": "Europe/Moscow",
        "catch_up": "skip",
        "job": {
            "blueprint": "generate_report",
            "input_data": {"type": "full_daily"},
            "dispatch_timeout": 60,
            "result_timeout": 600,
            "security": {"role": "reader"},
            "metadata": {"team": "blue"},
        },
    }
    assert entries["weekly_backup"]["when"] == {"at": "23:00", "weekdays": ["fri", "sun"]}
    assert entries["weekly_backup"]["job"]["input_data"] == {}
    assert entries["rent and wages"] == {
        "when": {"at": "08:00", "dates": [1, 31]},
        "zone": "America/New_York",
        "catch_up": "once",
        "job": {"blueprint": "pay", "input_data": {}},
    }


def test_an_empty_file_has_no_schedules(tmp_path: Path) -> None:
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("interval_seconds = 5\nblueprnt = 'x'", "nobody knows 'blueprnt'; known are blueprint, catch_up"),
        ("interval_seconds = 5\ncron = '* * * * *'", "nobody knows 'cron'"),
        ("blueprint = 3\ninterval_seconds = 5", "it needs a 'blueprint', which is a string"),
        ("blueprint = ''\ninterval_seconds = 5", "it needs a 'blueprint'"),
        ("", "it says no time"),
        ("interval_seconds = 0", "a whole number of seconds, at least 1, not 0"),
        ("interval_seconds = '5'", "not '5'"),
        ("interval_seconds = true", "not True"),
        ("interval_seconds = 5\ndaily_at = '02:00'", "'interval_seconds' and 'daily_at' are two ways"),
        ("daily_at = '02:00'\ntime = '03:00'", "'daily_at' and 'time' are two times"),
        ("daily_at = '2:00'", "not '2:00'"),
        ("daily_at = 02:00:00", 'a time is "HH:MM"'),
        ("weekly_days = ['mon']", "'weekly_days' needs a 'time'"),
        ("weekly_days = ['monday']\ntime = '02:00'", "not \\['monday'\\]"),
        ("weekly_days = 'mon'\ntime = '02:00'", "not 'mon'"),
        ("weekly_days = [1]\ntime = '02:00'", "not \\[1\\]"),
        ("monthly_dates = [32]\ntime = '02:00'", "not 32"),
        ("monthly_dates = []\ntime = '02:00'", "days of the month"),
        ("interval_seconds = 5\ntimezone = 'Mars'", "'Mars' is no time zone"),
        ("interval_seconds = 5\ncatch_up = 'all'", "'catch_up' is once or skip, not 'all'"),
        ("interval_seconds = 5\ninput_data = 3", "'input_data' is not a table"),
        ("interval_seconds = 5\nmetadata = []", "'metadata' is not a table"),
        ("interval_seconds = 5\nmetadata = {'daybook.x' = 1}", "begin with 'daybook.' are the server's"),
        (
            "interval_seconds = 5\ninput_data = {a = [1979-05-27]}",
            "'input_data.a\\[0\\]' is a date or a time",
        ),
        ("interval_seconds = 5\ninput_data = {a = {b = nan}}", "'input_data.a.b' is not a number"),
        ("interval_seconds = 5\ninput_data = {a = 9223372036854775808}", "more than 64 bits"),
        ("interval_seconds = 5\ndispatch_timeout = 0", "'dispatch_timeout' must be a whole number"),
        ("interval_seconds = 5\nresult_timeout = 1.5", "'result_timeout' must be a whole number"),
        ("interval_seconds = 5\nresult_timeout = true", "'result_timeout' must be"),
    ],
)
def test_what_is_wrong_is_said_with_the_schedule_s_name(tmp_path: Path, lines: str, why: str) -> None:
    blueprint = "" if lines.startswith("blueprint ") else "blueprint = 'b'\n"
    with pytest.raises(BadSchedules, match=f"schedules.toml: schedule 'nightly': .*{why}"):
        read(tmp_path, f"[nightly]\n{blueprint}{lines}")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadSchedules) as bad:
        read(tmp_path, "loose = 1\n[a]\nblueprint = 'b'\n[c]\ninterval_seconds = 5\n[d]\nx = 1")
    text = str(bad.value)
    for name in ("'loose' is not a table", "'a': it says no time", "'c': it needs", "'d': nobody knows 'x'"):
        assert name in text


def test_a_zone_of_the_environment_that_nobody_knows_matters_to_times_of_day_only(tmp_path: Path) -> None:
    assert read(tmp_path, "[a]\nblueprint='b'\ninterval_seconds=5", ":/etc/localtime")
    with pytest.raises(BadSchedules, match="schedule 'a': ':/etc/localtime' is no time zone"):
        read(tmp_path, "[a]\nblueprint='b'\ndaily_at='02:00'", ":/etc/localtime")


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSchedules, match="No such file"):
        reader("UTC")(tmp_path / "nowhere.toml")
    with pytest.raises(BadSchedules, match="Expected"):
        read(tmp_path, "[a")


SHOWCASE = """
[maintenance_task]
blueprint = "periodic_maintenance"
interval_seconds = 60
enabled = true

[maintenance_task.initial_data]
source = "scheduler"

[resting]
blueprint = "periodic_maintenance"
interval_seconds = 60
enabled = false
"""


def test_a_schedule_can_be_switched_off_and_its_data_called_as_a_request_calls_it(tmp_path: Path) -> None:
    entries = read(tmp_path, SHOWCASE)
    assert list(entries) == ["maintenance_task"]
    job = {"blueprint": "periodic_maintenance", "input_data": {"source": "scheduler"}}
    assert entries["maintenance_task"]["job"] == job


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("enabled = 0", "'enabled' is true or false, not 0"),
        ("initial_data = 1", "'initial_data' is not a table"),
        ("initial_data = {}\ninput_data = {}", "'input_data' and 'initial_data' are one and the same"),
        ("enabled = false\nnobody = 1", "nobody knows 'nobody'"),
    ],
)
def test_a_wrong_switch_and_two_sets_of_data_are_refused(tmp_path: Path, more: str, problem: str) -> None:
    with pytest.raises(BadSchedules, match=problem):
        read(tmp_path, f'[a]\nblueprint = "b"\ninterval_seconds = 60\n{more}')
