"""Who may call: the global token, tokens of workers' own, short-lived tokens."""

import asyncio
from hashlib import sha256

import pytest

from tests.contract.avtomatika.worker.conftest import OWN_TOKENS
from tests.contract.avtomatika.worker.test_socket import opened
from tests.contract.avtomatika.worker.world import World

pytestmark = pytest.mark.connected


async def test_without_a_valid_token_there_is_no_entry(world: World) -> None:
    for token in (None, "wrong", "dbw.forged.token"):
        answer = await world.worker(token=token).register("echo")
        assert answer.status_code == 401
        assert "Unauthorized" in answer.json()["error"]
        assert (await world.worker(token=token).poll(1)).status_code == 401
        assert (await world.worker(token=token).post("/_worker/auth/token")).status_code == 401


async def test_a_worker_with_a_token_of_its_own_uses_that_and_no_other(world: World) -> None:
    assert (await world.stranger("own-1", "own-token-of-own-1").register("echo")).status_code == 200
    assert (await world.stranger("own-1").register("echo")).status_code == 403
    assert (await world.stranger("own-2", "own-token-of-own-1").register("echo")).status_code == 401


async def test_a_token_may_have_letters_outside_ascii_however_they_are_sent(world: World) -> None:
    path, body = "/_worker/workers/register", {"worker_id": "own-3", "supported_skills": ["echo"]}
    for encoding in ("utf-8", "latin-1"):
        for token, status in (("schlüssel-à", 200), ("schlüssel-á", 401)):
            headers = {b"X-Worker-ID": b"own-3", b"X-Worker-Token": token.encode(encoding)}
            answer = await world.http.post(path, headers=headers, json=body)
            assert answer.status_code == status
    async with opened(world, "own-3", "schlüssel-à") as socket:
        await (await socket.ping())


async def test_tokens_may_be_hashed_and_for_a_pattern_and_are_read_again_when_they_change(
    world: World,
) -> None:
    assert (await world.stranger("cpu-7", "cpu-secret").register("echo")).status_code == 401
    world.tokens.write_text(OWN_TOKENS.format(hashed=sha256(b"cpu-secret").hexdigest()), "utf-8")
    while (await world.stranger("cpu-7", "cpu-secret").register("echo")).status_code != 200:
        await asyncio.sleep(0.1)
    assert (await world.stranger("cpu-7").register("echo")).status_code == 403
    world.tokens.write_text("[broken")
    await asyncio.sleep(1.2)  # longer than between two looks at the file
    assert (await world.stranger("cpu-7", "cpu-secret").register("echo")).status_code == 200


async def test_a_short_lived_token_is_of_one_worker_and_its_refresh_works_once(world: World) -> None:
    worker = world.worker()
    issued = (await worker.post("/_worker/auth/token")).json()
    assert set(issued) == {"access_token", "refresh_token", "expires_in", "worker_id"}
    assert (issued["expires_in"], issued["worker_id"]) == (3600, worker.name)
    bearer = world.worker("w1", issued["access_token"])
    assert (await bearer.register("echo")).status_code == 200
    assert (await world.worker("w2", issued["access_token"]).register("echo")).status_code == 403

    refresh = {"refresh_token": issued["refresh_token"]}
    other = await world.worker("w2").post("/_worker/auth/token/refresh", refresh)
    assert other.status_code == 403
    renewed = await bearer.post("/_worker/auth/token/refresh", refresh)
    assert renewed.status_code == 200
    assert (await world.worker("w1", renewed.json()["access_token"]).beat()).status_code == 200
    assert (await bearer.post("/_worker/auth/token/refresh", refresh)).status_code == 401
    assert (await bearer.post("/_worker/auth/token/refresh", {})).status_code == 400


async def test_a_path_of_another_worker_is_forbidden(world: World) -> None:
    worker = world.worker()
    await worker.register("echo")
    await world.worker("w2").register("echo")
    answer = await world.http.patch(f"/_worker/workers/{world.named('w2')}", headers=worker.headers)
    assert (answer.status_code, set(answer.json())) == (403, {"error"})
