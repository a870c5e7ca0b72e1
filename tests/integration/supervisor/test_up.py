"""`daybook up` with stand-ins for the services and a real nats-server."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervisor.upper import ROLES, Upper, until

pytestmark = pytest.mark.connected

LATE_SECONDS = 15
"""What a machine with other work may take longer than the ten that are promised."""
READY = re.compile(
    r"daybook ready http=http://127\.0\.0\.1:\d+ grpc=127\.0\.0\.1:\d+ nats=nats://127\.0\.0\.1:\d+\n"
)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path)
    yield upper
    upper.end_all()


async def test_one_line_says_that_every_process_serves_and_sigterm_ends_all_in_order(up: Upper) -> None:
    await up.start()
    assert READY.fullmatch(up.line)
    for role in ROLES:
        assert up.pid(role)
    started = time.monotonic()
    assert await up.stop() == 0, up.words()
    assert time.monotonic() - started < 10 + LATE_SECONDS
    assert up.living() == []
    assert (up.folder / "stopped").read_text().split() == ["api", "scheduler", "dispatcher", "projector"]
    assert up.process is not None
    assert up.process.stdout is not None
    assert up.process.stdout.read() == ""
    assert [file.name for file in (up.data / "run").iterdir()] == ["daybook.lock"]


async def test_nothing_is_left_behind_when_the_supervisor_is_killed(up: Upper) -> None:
    await up.start()
    assert len(up.living()) == 6
    up.kill()
    await until(lambda: up.living() == [])


async def test_a_start_after_a_crash_continues_on_the_same_port(up: Upper) -> None:
    await up.start()
    nats = up.line.rpartition("nats=")[2]
    up.kill()
    await up.start()
    assert up.line.rpartition("nats=")[2] == nats
    assert await up.stop() == 0, up.words()


async def test_a_frozen_leftover_of_a_killed_supervisor_is_ended_by_the_next(up: Upper) -> None:
    await up.start()
    frozen = up.pid("api")
    os.kill(frozen, signal.SIGSTOP)
    up.kill()
    await up.start()
    assert up.pid("api") != frozen
    assert frozen not in [process.pid for process in up.living()]


async def test_a_second_start_on_the_same_data_is_refused(up: Upper) -> None:
    await up.start()
    assert up.process is not None
    holder = up.process.pid
    second = Upper(up.folder)
    second.launch()
    assert await second.ended() == 1
    assert f"already runs on {up.data} (process {holder})" in up.words()
    assert up.pid("api")
    second.end_all()


@pytest.mark.parametrize("role", ["api", "nats"])
async def test_a_killed_process_is_started_again(up: Upper, role: str) -> None:
    await up.start()
    before = up.pid(role)
    os.kill(before, signal.SIGKILL)
    await until(lambda: up.pid(role) != before)
    if role == "nats":
        host, _, port = up.line.strip().rpartition("nats://")[2].partition(":")
        await until(lambda: _answers(host, int(port)))
    assert await up.stop() == 0, up.words()
    assert f"{role} ended with signal 9; it starts again in 0.2 s" in up.words()


async def test_a_process_that_keeps_failing_is_started_ever_less_often(up: Upper) -> None:
    await up.start()
    (up.folder / "api.broken").touch()
    os.kill(up.pid("api"), signal.SIGKILL)
    await until(lambda: "api ended with status 1; it starts again in 0.8 s" in up.words())
    (up.folder / "api.broken").unlink()
    await until(lambda: up.pid("api") > 0)
    assert await up.stop() == 0


async def test_a_process_that_never_serves_ends_the_start_and_is_named(up: Upper) -> None:
    (up.folder / "dispatcher.broken").touch()
    up.launch()
    assert await up.ended(30) == 1
    assert "daybook: dispatcher does not start: it ended with status 1" in up.words()
    assert up.living() == []


async def test_a_process_that_refuses_its_settings_is_not_tried_again(up: Upper) -> None:
    (up.folder / "projector.unset").touch()
    up.launch()
    assert await up.ended(30) == 1
    assert "projector does not start: it ended with status 2" in up.words()
    assert "projector ended with status 2; it starts again" not in up.words()


async def test_production_without_credentials_starts_nothing(tmp_path: Path) -> None:
    upper = Upper(tmp_path, DAYBOOK_PROFILE="production")
    try:
        upper.launch()
        assert await upper.ended() == 1
        assert "DAYBOOK_CLIENT_TOKEN is missing" in upper.words()
        assert not upper.data.exists()
    finally:
        upper.end_all()


async def test_a_port_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        upper = Upper(tmp_path, http=address)
        try:
            upper.launch()
            assert await upper.ended() == 1
        finally:
            upper.end_all()
    assert (
        f"cannot listen on {address}: Address already in use. Free it, or choose another --http"
        in upper.words()
    )


async def test_a_process_that_does_not_stop_is_cut_off_and_the_promise_of_ten_seconds_is_kept(
    up: Upper,
) -> None:
    await up.start()
    (up.folder / "api.deaf").touch()
    started = time.monotonic()
    assert await up.stop() == 0
    assert time.monotonic() - started < 10 + LATE_SECONDS
    assert up.living() == []
    assert "api did not stop in time and is killed" in up.words()
    assert (up.folder / "stopped").read_text().split() == ["scheduler", "dispatcher", "projector"]


async def test_the_end_of_whoever_started_it_ends_it_too(up: Upper) -> None:
    reading, writing = os.pipe()
    up.environment["DAYBOOK_PARENT_PIPE"] = str(reading)
    await up.start(pass_fds=(reading,))
    os.close(writing)
    os.close(reading)
    assert await up.ended() == 0
    assert up.living() == []


async def test_sigint_in_the_middle_of_the_start_ends_all(up: Upper) -> None:
    process = up.launch()
    await until(lambda: (up.data / "run" / "nats.pid").exists())
    process.send_signal(signal.SIGINT)
    assert await up.ended() == 0
    assert up.living() == []


async def test_children_get_exactly_the_settings_of_the_supervisor(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file-0123456789\n")
    upper = Upper(tmp_path, DAYBOOK_CLIENT_TOKEN_FILE=str(secret), BLUEPRINTS_DIR=str(tmp_path))
    try:
        await upper.start()
        seen = (tmp_path / "api.settings").read_text()
        assert "'DAYBOOK_CLIENT_TOKEN': 'from-a-file-0123456789'" in seen
        assert f"'DAYBOOK_BLUEPRINTS': '{tmp_path}'" in seen
        assert f"'DAYBOOK_DATA': '{upper.data}'" in seen
        assert "from-a-file" not in upper.words()
        assert await upper.stop() == 0
    finally:
        upper.end_all()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
