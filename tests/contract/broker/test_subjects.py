"""Subjects are built and taken apart in one place."""

from base64 import b32hexencode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker import subjects

JOB = UUID("0190c8a4-7e5b-7000-8000-0123456789ab")


@given(st.uuids())
def test_an_id_survives_its_token(id: UUID) -> None:  # noqa: A002
    token = subjects.id_token(id)
    assert token == b32hexencode(id.bytes).decode().rstrip("=").lower()
    assert subjects.id_of(token) == id


@given(st.text(max_size=30))
def test_what_is_not_a_token_is_refused(text: str) -> None:
    try:
        id = subjects.id_of(text)  # noqa: A001
    except ValueError:
        return
    assert subjects.id_token(id) == text


@pytest.mark.parametrize(
    ("reply", "inbox"),
    [
        ("_DAYBOOK.x", True),
        ("_INBOX.x.r.1", True),
        ("_R_.BT6vvH.09Vn5D", True),  # what the server makes of any reply subject from another account
        ("", False),
        ("_R_", False),
        ("_RX.a", False),
        (subjects.commit_subject("job", JOB, 2), False),
        (subjects.command(JOB), False),
        ("$JS.ACK.JOURNAL.skill_x.1.1.1.1.0", False),
        ("$JS.API.STREAM.PURGE.JOURNAL", False),
    ],
)
def test_only_where_answers_are_waited_for_is_an_inbox(reply: str, inbox: bool) -> None:
    assert subjects.is_inbox(reply) == inbox


@pytest.mark.parametrize(
    "token",
    [
        "",
        ">",
        "*",
        "0" * 25,
        "0" * 27,
        "0" * 25 + "_",
        "V" * 26,
        "v" * 26,
        "w" * 26,
        "0" * 25 + "1",
        "+" + "0" * 25,
    ],
)
def test_such_tokens_are_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not an id token"):
        subjects.id_of(token)


@given(st.text(max_size=100))
def test_a_skill_of_any_name_has_a_token_that_is_one_plain_subject_token(name: str) -> None:
    token = subjects.skill_token(name)
    assert 0 < len(token) <= 40
    assert not set(token) & set(" .*>/\\\t\r\n@")
    assert token.isascii()
    assert (token == name) or "=" in token


def test_a_plain_skill_is_its_own_token() -> None:
    assert subjects.skill_token("resize_image-2") == "resize_image-2"


def test_skills_that_look_alike_have_different_tokens() -> None:
    names = ["Resize", "resize", "resize ", "re.size", "re-size", "a" * 40, "a" * 41, "a" * 42, "", "@placed"]
    assert len({subjects.skill_token(name) for name in names}) == len(names)


def test_a_commits_subject_is_taken_apart_as_it_was_built() -> None:
    note = subjects.commit_subject("workflow", JOB, 7)
    run = subjects.commit_subject("job", JOB, 12, "resize")
    assert subjects.parse_commit(note) == ("workflow", JOB, 7, None)
    assert subjects.parse_commit(run) == ("job", JOB, 12, "resize")
    assert run == f"journal.job.{subjects.id_token(JOB)}.12.run.resize"


@pytest.mark.parametrize("subject", ["journal.job.x.1.note", "journal.job", "report.x", "journal.job.>"])
def test_what_is_not_a_commits_subject_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="not "):
        subjects.parse_commit(subject)


def test_a_wake_ups_name_is_plain() -> None:
    assert subjects.parse_fired(subjects.fired(JOB, "retry-1-2")) == (JOB, "retry-1-2")
    for name in ("a.b", "*", ">", "", "a b"):
        with pytest.raises(ValueError, match="wake-up"):
            subjects.timer(JOB, name)
