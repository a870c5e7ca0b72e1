import pytest

from services.api.principals import Authenticator, Principal
from services.api.problems import Problem

ALICE = Principal("alice", "a", frozenset({"client"}))
SID = Principal("sid", "a", frozenset({"client", "suspended"}))
AUTHENTICATOR = Authenticator({"secret": ALICE, "other": SID})


@pytest.mark.parametrize("header", [b"Bearer secret", b"bearer secret", b"Bearer  secret "])
def test_a_known_token_names_its_principal(header: bytes) -> None:
    assert AUTHENTICATOR.principal(header, "jobs.read") is ALICE


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer secre",
        b"Bearer secrets",
        b"Basic secret",
        b"secret",
        b"Bearer \xff\xfe",
        b"Bearer secret, Bearer other",
        b"Bearer " + b"x" * 10_000,
    ],
)
def test_anything_else_is_nobody(header: bytes | None) -> None:
    with pytest.raises(Problem) as refused:
        AUTHENTICATOR.principal(header, "jobs.read")
    assert refused.value.status == 401
    assert refused.value.headers[0][0] == "WWW-Authenticate"


def test_a_denial_wins_over_what_another_role_allows() -> None:
    assert AUTHENTICATOR.principal(b"Bearer other", "jobs.read") is SID
    with pytest.raises(Problem) as refused:
        AUTHENTICATOR.principal(b"Bearer other", "jobs.submit")
    assert refused.value.status == 403


def test_who_has_no_role_may_do_nothing() -> None:
    assert Principal("n", "a", frozenset()).actions() == frozenset()
    assert Principal("n", "a", frozenset({"unheard-of"})).actions() == frozenset()


def test_no_token_is_kept_as_it_is() -> None:
    assert b"secret" not in repr(vars(AUTHENTICATOR)).encode()
