"""Who is let in, and how often."""

import logging
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from services.api.dialects.avtomatika.answers import Refused
from services.api.dialects.avtomatika.clients import BadClients, Clients, clients_of
from services.api.dialects.avtomatika.limits import MOST_KEYS, RateLimit
from services.api.dialects.avtomatika.quotas import Quotas
from services.api.dialects.avtomatika.token_file import TokenFile
from shared.broker.errors import BrokerError, NoAnswer, NotSent
from tests.unit.avtomatika.world import World, world

NOVEMBER = datetime(2026, 11, 21, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_request_needs_a_known_token(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with w.client(None) as nobody:
            missing = await nobody.get("/api/v1/jobs")
            assert (missing.status_code, missing.json()) == (401, {"error": "Missing X-Client-Token header"})
        async with w.client("wrong") as stranger:
            wrong = await stranger.get("/api/v1/jobs")
            assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized: Invalid token"})
        async with w.client("dev-client-token") as client:
            assert (await client.get("/api/v1/jobs")).status_code == 200
        async with w.client(None) as client:
            bearer = {"Authorization": "Bearer token-alice"}
            assert (await client.get("/api/v1/jobs", headers=bearer)).status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_token_may_have_letters_outside_ascii_however_they_are_sent(
    encoding: str, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.client(None) as client:
        for token, status in (("schlüssel-à", 200), ("schlüssel-á", 401)):
            for name, value in (("X-Client-Token", token), ("Authorization", f"Bearer {token}")):
                headers = [(name.encode(), value.encode(encoding))]
                assert (await client.get("/api/v1/jobs", headers=headers)).status_code == status


async def test_a_month_has_as_many_requests_as_were_granted(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.client("token-few") as client:
        assert [(await client.get("/api/v1/jobs")).status_code for _ in range(3)] == [200, 200, 429]
        answer = await client.get("/api/v1/jobs")
        assert answer.json() == {"error": "Quota exceeded or not configured"}


class Numbers:
    """The common counts, of several processes."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self.problem: BrokerError | None = None

    async def add(self, subject: str, number: int) -> int:
        if isinstance(self.problem, NoAnswer):
            self.found[subject] = self.found.get(subject, 0) + number
        if self.problem is not None:
            raise self.problem
        self.found[subject] = self.found.get(subject, 0) + number
        return self.found[subject]

    async def value(self, subject: str) -> int:
        return self.found.get(subject, 0)


async def test_use_is_kept_over_a_restart_and_begins_anew_with_the_month() -> None:
    now, numbers = [NOVEMBER], Numbers()
    quotas = Quotas(numbers, lambda: now[0])
    assert [quotas.take("few", 2) for _ in range(3)] == [True, True, False]
    await quotas.add()
    again = Quotas(numbers, lambda: now[0])
    await again.load(["few", "other"])
    assert not again.take("few", 2)
    assert again.take("few", 3)
    now[0] = NOVEMBER.replace(month=12)
    assert again.take("few", 2)


async def test_processes_share_one_count_from_one_moment_to_the_next() -> None:
    numbers = Numbers()
    one, other = Quotas(numbers, lambda: NOVEMBER), Quotas(numbers, lambda: NOVEMBER)
    assert [one.take("few", 3), one.take("few", 3), other.take("few", 3)] == [True, True, True]
    await one.add()
    await other.add()
    assert not other.take("few", 3)
    assert one.take("few", 3)  # it did not hear yet: this is what may be too much
    await one.add()
    assert not one.take("few", 3)
    assert list(numbers.found.values()) == [4]


async def test_what_cannot_be_added_now_is_added_later_and_counts_meanwhile() -> None:
    numbers = Numbers()
    quotas = Quotas(numbers, lambda: NOVEMBER)
    quotas.take("few", 2)
    numbers.problem = NotSent("away")
    await quotas.add()
    assert numbers.found == {}
    assert [quotas.take("few", 2), quotas.take("few", 2)] == [True, False]
    numbers.problem = None
    await quotas.add()
    assert list(numbers.found.values()) == [2]


async def test_an_unknown_outcome_is_not_added_twice() -> None:
    numbers = Numbers()
    quotas = Quotas(numbers, lambda: NOVEMBER)
    quotas.take("few", 2)
    numbers.problem = NoAnswer("lost")
    await quotas.add()
    numbers.problem = None
    await quotas.add()
    assert list(numbers.found.values()) == [1]
    assert [quotas.take("few", 2), quotas.take("few", 2)] == [True, False]


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "clients.toml", Clock()
    file.write_text('[a]\ntoken = "one"')
    clients = Clients("", file, Quotas(None, lambda: NOVEMBER), clock)
    assert clients.find("one").name == "a"
    file.write_text('[a]\ntoken = "two, which is longer"')
    assert clients.find("one").name == "a"  # it does not look at every request
    clock.seconds += 2
    with pytest.raises(Refused):
        clients.find("one")
    assert clients.find("two, which is longer").name == "a"
    file.write_text("[a")
    clock.seconds += 2
    with caplog.at_level(logging.ERROR):
        assert clients.find("two, which is longer").name == "a"
    assert "the clients stay as they were" in caplog.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a", "clients.toml"),
        ("a = 1", "a is not a table"),
        ("[a]", "it needs a token"),
        ("[a]\ntoken = 7", "it needs a token"),
        ('[a]\ntoken_sha256 = "abc"', "not 64 hex digits"),
        ('[a]\ntoken = "sha256:abc"', "not 64 hex digits"),
        ('[a]\ntoken = "secret-t"\ntoken_hash = "abc"', "it needs a token"),
        ('[a]\ntoken = "t"\nmonthly_attempts = "many"', "monthly_attempts is not an integer"),
        ('[a]\ntoken = "t"\nplan = 1', "plan is not a string"),
        ('[a]\ntoken = "secret-t"\n[b]\ntoken = "secret-t"', "'b' has the token of 'a'"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text(text)
    with pytest.raises(BadClients, match=why) as told:
        Clients("", file, Quotas(None, lambda: NOVEMBER))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("said", ['token_sha256 = "{}"', 'token_hash = "{}"', 'token = "sha256:{}"'])
def test_a_hash_of_a_token_is_no_token(said: str, tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text("[a]\n" + said.format(hashed := sha256(b"one").hexdigest()))
    clients = Clients("", file, Quotas(None, lambda: NOVEMBER))
    assert clients.find("one").params == {}
    for wrong in (hashed, f"sha256:{hashed}"):
        with pytest.raises(Refused):
            clients.find(wrong)


def test_what_is_not_ours_in_a_table_is_the_client_s_own(tmp_path: Path) -> None:
    file = tmp_path / "clients.toml"
    file.write_text('[a]\ntoken = "t"\ntenant = "x"\nlanguages = ["en"]\n[a.params]\nvip = true')
    (client,) = clients_of(TokenFile(file, Clock(), BadClients)).values()
    assert client.params == {"languages": ["en"], "vip": True}
    assert client.tenant == "x"


async def test_a_limit_tells_what_is_left_and_when_to_come_again(tmp_path: Path) -> None:
    async with world(tmp_path, rate_limiting_enabled=True, rate_limit=2) as w, w.client() as client:
        first = await client.get("/api/v1/dashboard")
        assert first.headers["x-ratelimit-limit"] == "2"
        assert first.headers["x-ratelimit-remaining"] == "1"
        await client.get("/api/v1/dashboard")
        third = await client.get("/api/v1/dashboard")
        assert (third.status_code, third.json()) == (429, {"error": "Too Many Requests"})
        assert 1 <= int(third.headers["retry-after"]) <= 60
        assert third.headers["x-ratelimit-remaining"] == "0"
        assert (await client.get("/api/v1/workers")).status_code == 200  # another path
        metrics = await client.get("/_public/metrics")
        assert "orchestrator_ratelimit_blocked_total 1.0" in metrics.text


async def test_a_client_is_limited_wherever_it_calls_from(tmp_path: Path) -> None:
    async def asked(w: World, address: str, token: str) -> int:
        transport = httpx.ASGITransport(app=w.server, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://daybook") as client:
            headers = {"X-Client-Token": token}
            return (await client.get("/api/v1/dashboard", headers=headers)).status_code

    async with world(tmp_path, rate_limiting_enabled=True, rate_limit=2) as w:
        calls = [await asked(w, f"10.0.0.{number}", "token-alice") for number in range(3)]
        assert calls == [200, 200, 429]
        assert await asked(w, "10.0.0.9", "token-bob") == 200
        # A request that is refused takes nothing from the month.
        few = [await asked(w, "10.0.0.2", "token-few"), await asked(w, "10.0.0.2", "token-few")]
        assert few == [200, 429]
        assert await asked(w, "10.0.0.8", "token-few") == 200


async def test_nothing_is_limited_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path, rate_limit=1) as w, w.client() as client:
        assert [(await client.get("/api/v1/workers")).status_code for _ in range(3)] == [200, 200, 200]


def test_a_window_ends_for_all_keys_and_memory_is_bounded() -> None:
    clock = Clock()
    limit = RateLimit(1, 60.0, clock)
    assert not limit.take("a").is_exceeded
    assert limit.take("a").is_exceeded
    assert limit.take("a", 5).remaining == 2
    for number in range(MOST_KEYS + 10):
        limit.take(f"key {number}")
    assert len(limit._counts) == MOST_KEYS
    clock.seconds += 60
    assert not limit.take("a").is_exceeded
