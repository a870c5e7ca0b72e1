"""Changes to what is stored, made while nobody looks: they are found, and told to whoever asks."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults import forging
from tests.faults.reading import JournalReader
from tests.faults.scene import Scene, rules, scene

pytestmark = [pytest.mark.connected, pytest.mark.slow]


def _another_output(body: dict[str, Any]) -> None:
    for _, fields in body["events"]:
        if "output" in fields:
            fields["output"] = {"x": 1000}


async def _run_and_stop(here: Scene) -> tuple[str, JournalReader]:
    worker = here.worker()
    job = await here.submit(workflow="three", input={"x": 1})
    await here.ended(job)
    reader = JournalReader(here.system)
    await reader.catch_up()
    worker.stop()
    await here.system.stop()
    return str(job), reader


async def test_a_changed_result_is_found_by_the_chain_though_every_message_is_in_its_place(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as here:
        job, reader = await _run_and_stop(here)
        which = next(seq for seq, _, raw in reader.messages if b"TaskSucceeded" in raw)
        await forging.write_anew(here.system, forging.changed(reader.messages, which, _another_output))
        await here.system.start()
        assert rules(await here.violations()) == {"chains_hold"}
        answer = await here.client.get(f"/v1/jobs/{job}/history")
        assert (answer.status_code, answer.json()["code"]) == (500, "history_broken")


async def test_an_unchanged_copy_of_the_stream_is_found_whole(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        job, reader = await _run_and_stop(here)
        await forging.write_anew(here.system, reader.messages)
        await here.system.start()
        assert await here.violations() == []
        answer = await here.client.get(f"/v1/jobs/{job}/history")
        assert answer.status_code == 200, answer.text


async def test_a_flipped_bit_on_the_disk_is_found(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        job, reader = await _run_and_stop(here)
        which = next(raw for _, _, raw in reader.messages if b"TaskSucceeded" in raw)
        forging.flip_a_bit(here.system, which)
        await here.system.start()
        assert {"history_is_whole", "chains_hold"} <= rules(await here.violations())
        answer = await here.client.get(f"/v1/jobs/{job}/history")
        assert (answer.status_code, answer.json()["code"]) == (500, "history_broken")
