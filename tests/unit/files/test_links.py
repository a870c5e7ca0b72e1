"""Signed links to files in a folder, and the key that signs them."""

import stat
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from shared.files.links import Links, signing_key

KEY = "jobs/0198c0de-0000-7000-8000-000000000001/a b#é.txt"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_700_000_000

    def __call__(self) -> int:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def query_of(link: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(link).query))


def test_a_link_is_for_one_method_one_file_and_some_time(clock: Clock) -> None:
    links = Links(b"k" * 32, clock)
    query = query_of(links.made(KEY, "GET", 60))
    assert links.allows(KEY, "GET", query)
    assert not links.allows(KEY, "PUT", query)
    assert not links.allows(KEY, "PUT", {**query, "method": "PUT"})
    assert not links.allows(KEY.replace("a b", "a c"), "GET", query)
    assert not links.allows(KEY.replace("0001", "0002"), "GET", query)
    assert not links.allows(KEY, "GET", {**query, "expires": str(int(query["expires"]) + 1)})
    assert not Links(b"o" * 32, clock).allows(KEY, "GET", query)
    clock.seconds += 59
    assert links.allows(KEY, "GET", query)
    clock.seconds += 1
    assert not links.allows(KEY, "GET", query)


@pytest.mark.parametrize("broken", [{}, {"expires": "x"}, {"expires": "9" * 40}, {"signature": "é"}])
def test_a_broken_query_allows_nothing(clock: Clock, broken: dict[str, str]) -> None:
    links = Links(b"k" * 32, clock)
    query = query_of(links.made(KEY, "GET", 60)) if broken else {}
    assert not links.allows(KEY, "GET", {**query, **broken})


def test_a_link_stands_below_the_public_url(clock: Clock) -> None:
    assert Links(b"k", clock).made(KEY, "GET", 60).startswith("/_files/jobs/")
    link = Links(b"k", clock, "https://jobs.example.org/").made(KEY, "PUT", 60)
    assert link.startswith("https://jobs.example.org/_files/jobs/")
    assert "a%20b%23%C3%A9.txt?" in link


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "files" / "links.key"
    key = signing_key("", file)
    assert len(key) == 32
    assert signing_key("", file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["links.key"]
    assert signing_key("", tmp_path / "other" / "links.key") != key


def test_a_secret_in_the_settings_is_the_key_everywhere(tmp_path: Path) -> None:
    key = signing_key("s" * 20, tmp_path / "links.key")
    assert key == signing_key("s" * 20, tmp_path / "elsewhere.key") != signing_key("t" * 20, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
