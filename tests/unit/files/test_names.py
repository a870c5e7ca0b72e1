"""What a file may be called."""
# ruff: noqa: RUF001 (ambiguous characters are what is tested)

import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.application.files import JOBS, UnsafeName, key_of, safe_name

JOB = UUID("0198c0de-0000-7000-8000-000000000001")


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "a/b/c.txt",
        ".hidden",
        "50%.txt",
        "report [1] (final) #2b.pdf",
        "a&b=c+d?.txt",
        "naïve Grüße 日本語.txt",
        "می\u200cخواهم.txt",
        "👩\u200d🚀.png",
        "console.log",
        "a..b",
        "x" * 240,
        "/".join(["x" * 99] * 9),
    ],
)
def test_what_is_harmless_is_a_name(name: str) -> None:
    assert key_of(JOB, name) == f"{JOBS}{JOB}/{name}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        ".",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "a/./b",
        "/etc/passwd",
        "a//b",
        "a/",
        "..\\x",
        "C:\\x",
        "C:x",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\u0085b",
        "%2e%2e/x",
        "%2e%2e%2fx",
        "%252e%252e%252fx",
        "a%00b",
        "a%5cb",
        "．．／x",
        "‥/x",
        "a／b",
        "a\u2215b",
        "a\u2044b",
        "＼＼host",
        "℀",
        "a\u202etxt.exe",
        "a\u200bb",
        "\ufeffa",
        "a\u2028b",
        "a\ud800b",
        "a\ufffdb",  # noqa: PT014 (a surrogate is not this)
        " a",
        "a ",
        "a/ b",
        "a.",
        "con",
        "NUL.txt",
        "a/com1",
        "ＣＯＮ",
        "lpt¹.txt",
        "a#1",
        "x" * 241,
        "é" * 121,
        "x" * 901,
        "x" * 4096,
        "/".join(["x" * 100] * 9),
    ],
)
def test_what_could_do_harm_is_refused(name: str) -> None:
    with pytest.raises(UnsafeName):
        safe_name(name)


def test_one_name_is_one_file_however_it_was_typed() -> None:
    assert safe_name("e\u0301.txt") == safe_name("é.txt") == unicodedata.normalize("NFC", "é.txt")


@given(st.text(max_size=40) | st.text(alphabet="./\\%2eEfF5cC\0 a", max_size=20))
def test_no_name_leads_out_of_the_jobs_folder(name: str) -> None:
    try:
        key = key_of(JOB, name)
    except UnsafeName:
        return
    segments = key.split("/")
    assert segments[:2] == ["jobs", str(JOB)]
    assert not {"", ".", ".."} & set(segments)
    assert safe_name(key.partition(f"{JOB}/")[2]) == key.partition(f"{JOB}/")[2]
