"""Which tokens let whom in, and what a signature proves."""

from collections.abc import Callable
from hashlib import sha256
from hmac import new
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.api.dialects.avtomatika.worker_auth import Denied, Mode, UnreadableWorkers, WorkerAuth

NOW = 1_763_697_600.0


class Spent(set[str]):
    """The numbers that were used."""

    async def __call__(self, number: str) -> bool:
        fresh = number not in self
        self.add(number)
        return fresh


def auth(
    file: Path | None = None,
    now: Callable[[], float] = lambda: NOW,
    *,
    signatures: bool = False,
    mode: Mode = "mixed",
) -> WorkerAuth:
    return WorkerAuth("global", file, b"key", now, Spent(), signatures=signatures, mode=mode)


async def test_a_short_lived_token_ends_after_an_hour_and_its_refresh_after_a_day() -> None:
    time = [NOW]
    known = auth(now=lambda: time[0])
    pair = known.issue("w1")
    known.check(pair["access_token"], "w1")
    time[0] += 3601
    with pytest.raises(Denied, match="expired") as ended:
        known.check(pair["access_token"], "w1")
    assert ended.value.status == 401
    assert (await known.refresh(pair["refresh_token"], "w1"))["worker_id"] == "w1"
    later = known.issue("w1")
    time[0] += 24 * 3600 + 1
    with pytest.raises(Denied, match="expired"):
        await known.refresh(later["refresh_token"], "w1")


async def test_tokens_that_were_tampered_with_or_are_of_the_other_kind_are_refused() -> None:
    known = auth()
    pair = known.issue("w1")
    for token in (pair["access_token"][:-2] + "xx", pair["refresh_token"], "dbw.", "dbw.e30.e30"):
        with pytest.raises(Denied):
            known.check(token, "w1")
    with pytest.raises(Denied):
        await known.refresh(pair["access_token"], "w1")
    other = WorkerAuth("global", None, b"another key", lambda: NOW, Spent())
    with pytest.raises(Denied):
        other.check(pair["access_token"], "w1")


@pytest.mark.parametrize(
    "text", ["[w1]", '[w1]\ntoken = ""', '[w1]\ntoken_hash = "short"', "w1 = 3", "[w1]\ntoken = 3", "["]
)
def test_a_file_that_makes_no_sense_is_refused_at_the_start(text: str, tmp_path: Path) -> None:
    file = tmp_path / "workers.toml"
    file.write_text(text)
    with pytest.raises(UnreadableWorkers):
        auth(file)


def test_a_file_that_is_gone_is_said_once_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, time = tmp_path / "workers.toml", [NOW]
    file.write_text('[w1]\ntoken = "own"')
    known = auth(file, lambda: time[0])
    file.unlink()
    for _ in range(3):
        time[0] += 2
        known.check("own", "w1")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    file.write_text('[w1]\ntoken = "other"')
    time[0] += 2
    known.check("other", "w1")


@pytest.mark.parametrize("said", ['token_sha256 = "{}"', 'token_hash = "{}"', 'token = "sha256:{}"'])
def test_a_token_may_stand_as_its_hash(said: str, tmp_path: Path) -> None:
    file = tmp_path / "workers.toml"
    file.write_text("[w1]\n" + said.format(sha256(b"one").hexdigest()))
    known = auth(file)
    known.check("one", "w1")
    with pytest.raises(Denied):
        known.check(sha256(b"one").hexdigest(), "w1")


def test_an_exact_name_wins_over_a_pattern(tmp_path: Path) -> None:
    file = tmp_path / "workers.toml"
    hashed = f"sha256:{sha256(b'for-all').hexdigest()}"
    file.write_text(f'["cpu-*"]\ntoken = "{hashed}"\n[cpu-1]\ntoken = "for-one"\n')
    known = auth(file)
    known.check("for-one", "cpu-1")
    known.check("for-all", "cpu-2")
    known.check("global", "gpu-1")
    for token in ("for-all", "global"):
        with pytest.raises(Denied):
            known.check(token, "cpu-1")


def signed(token: str = "global", **members: Any) -> dict[str, Any]:
    """A message as the SDK signs it."""
    document: dict[str, Any] = {"worker_id": "w1", "timestamp": int(NOW), "load": 1.0, "gone": None} | members
    plain = {"worker_id": "w1", "timestamp": int(NOW), "load": 1} | members
    signature = new(token.encode(), orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), sha256).hexdigest()
    return document | {"security": {"signature": signature, "signer_id": "w1"}}


def test_a_signature_of_the_message_holds() -> None:
    known = auth(signatures=True)
    known.verify(signed(), "global", "w1")
    known.verify(signed() | {"bubbling_chain": ["a"]}, "global", "w1", "bubbling_chain")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"timestamp": int(NOW)}, "security context"),
        (signed() | {"timestamp": None}, "timestamp for replay"),
        (signed(timestamp=int(NOW) - 61), "expired"),
        (signed(timestamp=int(NOW) + 61), "expired"),
        (signed("other"), "signature"),
        (signed() | {"load": 2}, "signature"),
        (signed() | {"security": {"signature": "00", "signer_id": "w2"}}, "sender ID"),
    ],
)
def test_a_message_that_is_not_signed_well_is_refused(document: dict[str, Any], text: str) -> None:
    with pytest.raises(Denied, match=text) as refused:
        auth(signatures=True).verify(document, "global", "w1")
    assert refused.value.status == 403


def test_signatures_are_not_looked_at_unless_they_are_demanded() -> None:
    auth().verify({}, "global", "w1")


@pytest.mark.parametrize(
    ("mode", "token", "certified", "refused"),
    [
        ("mixed", None, "w1", None),
        ("mixed", "wrong", "w1", None),
        ("mixed", "global", None, None),
        ("mixed", "global", "w2", "Unauthorized: Certificate CN 'w2' does not match worker_id 'w1'"),
        ("mixed", None, None, "Unauthorized: Missing X-Worker-Token header or client certificate."),
        ("mtls-only", None, "w1", None),
        ("mtls-only", "global", "w2", "Unauthorized: Certificate CN 'w2' does not match worker_id 'w1'"),
        ("mtls-only", "global", None, "Unauthorized: Invalid authentication method."),
        ("mtls-only", None, None, "Unauthorized: Client certificate required."),
        ("token-only", "global", "w2", None),
        ("token-only", None, "w1", "Unauthorized: Missing X-Worker-Token header."),
    ],
)
def test_the_mode_says_what_a_worker_shows(
    mode: Mode, token: str | None, certified: str | None, refused: str | None
) -> None:
    known = auth(mode=mode)
    if refused is None:
        known.check(token, "w1", certified)
        return
    with pytest.raises(Denied) as denied:
        known.check(token, "w1", certified)
    assert denied.value.text == refused


def test_where_only_certificates_count_a_short_lived_token_made_for_one_does_too() -> None:
    known = auth(mode="mtls-only")
    known.check(known.issue("w1")["access_token"], "w1")


async def test_a_refresh_token_that_was_used_is_a_replay() -> None:
    known = auth()
    token = known.issue("w1")["refresh_token"]
    await known.refresh(token, "w1")
    with pytest.raises(Denied, match="used before") as denied:
        await known.refresh(token, "w1")
    assert denied.value.why == "replay"
