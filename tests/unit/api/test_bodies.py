import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from starlette.types import Message, Receive

from services.api.bodies import BodyLimits, ClientGone, decode, inspect, read_body
from services.api.problems import Problem

LIMITS = BodyLimits(max_bytes=1000, max_depth=4, max_keys=5, read_seconds=0.05)
ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def receiving(*parts: bytes) -> Receive:
    messages: Iterable[Message] = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
        for index, part in enumerate(parts)
    ]
    left = iter(messages)

    async def receive() -> Message:
        return next(left, {"type": "http.disconnect"})

    return receive


async def test_a_body_in_parts_is_put_together() -> None:
    assert await read_body(receiving(b"ab", b"c", b"d"), {}, LIMITS) == b"abcd"


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    async def receive() -> Message:
        raise AssertionError("nobody reads it")

    with pytest.raises(Problem, match="1000 bytes") as refused:
        await read_body(receive, {b"content-length": b"1001"}, LIMITS)
    assert refused.value.status == 413


@pytest.mark.parametrize("parts", [[b"x" * 1001], [b"x" * 600, b"x" * 600, b""]])
async def test_a_body_that_turns_out_too_large_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(Problem) as refused:
        await read_body(receiving(*parts), {}, LIMITS)
    assert refused.value.code == "body_too_large"


async def test_a_body_that_never_ends_is_refused_in_time() -> None:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": b"{", "more_body": True}

    with pytest.raises(Problem) as refused:
        await read_body(receive, {}, LIMITS)
    assert refused.value.code == "body_too_slow"


@pytest.mark.parametrize("parts", [[], [b"a", b"b"]])
async def test_a_client_that_hangs_up_gets_no_answer(parts: list[bytes]) -> None:
    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": True}
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await read_body(receive, {}, LIMITS)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({b"content-type": b"text/plain"}, "unsupported_media_type"),
        ({b"content-type": b"application/x-www-form-urlencoded"}, "unsupported_media_type"),
        ({b"content-encoding": b"gzip"}, "unsupported_media_type"),
        ({b"content-type": b"application/json; charset=utf-8"}, None),
        ({b"content-type": b"Application/JSON"}, None),
        ({b"content-type": b"application/vnd.x+json"}, None),
        ({b"content-encoding": b"identity"}, None),
    ],
)
async def test_only_plain_json_is_read(headers: dict[bytes, bytes], code: str | None) -> None:
    if code is None:
        assert await read_body(receiving(b"{}"), headers, LIMITS) == b"{}"
        return
    with pytest.raises(Problem) as refused:
        await read_body(receiving(b"{}"), headers, LIMITS)
    assert refused.value.code == code


def refusal(body: bytes, limits: BodyLimits = LIMITS) -> str | None:
    try:
        inspect(body, limits)
    except Problem as problem:
        return problem.code
    return None


def test_nesting_is_counted_outside_strings_only() -> None:
    assert refusal(b"[[[[]]]]") is None
    assert refusal(b"[[[[[]]]]]") == "too_deep"
    assert refusal(b'{"a":{"a":{"a":{"a":[]}}}}') == "too_deep"
    assert refusal(b'["[[[[[[[[[[", [], [], [], []]') is None
    assert refusal(rb'["\"[[[[[[[[[[", "\\", [], [], [], []]') is None


def test_keys_are_counted_outside_strings_only() -> None:
    many = orjson.dumps({str(n): n for n in range(5)})
    assert refusal(many) is None
    assert refusal(orjson.dumps({str(n): n for n in range(6)})) == "too_many_keys"
    assert refusal(b'["::::::::::::"]') is None


@pytest.mark.parametrize(
    "number",
    ["18446744073709551616", "-9223372036854775809", "9" * 400, "[1, 99999999999999999999]"],
)
def test_integers_beyond_64_bits_are_refused(number: str) -> None:
    assert refusal(number.encode()) == "invalid"


@pytest.mark.parametrize(
    "number",
    [
        "18446744073709551615",
        "-9223372036854775808",
        '"99999999999999999999999"',
        "0.99999999999999999999999999",
        "123456789012345678901234567890.5",
        "100000000000000000000e3",
    ],
)
def test_numbers_that_every_reader_reads_alike_pass(number: str) -> None:
    assert refusal(number.encode()) is None


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'"' + b'\\"' * 500_000,
        b'":' * 500_000,
        b"1" * 1_000_000,
        b"[]" * 500_000,
        b"[{}," * 250_000,
        b"[]{}]" * 200_000,
        b"[}" * 500_000,
        b"[" * 100 + b'"\\' * 400_000,
        b'"' * 1_000_001 + b"[" * 100,
    ],
)
def test_a_bomb_costs_no_more_than_its_length(bomb: bytes) -> None:
    started = time.process_time()
    with suppress(Problem):
        decode(ANY, bomb, BodyLimits())
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a"',
        b"nul",
        b"{} x",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b"NaN",
        b"[1,]",
        b"'a'",
    ],
)
def test_what_is_not_json_is_told_as_400(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        decode(ANY, body, LIMITS)
    assert (refused.value.status, refused.value.code) == (400, "malformed_json")


def test_what_does_not_fit_the_type_is_told_with_a_pointer() -> None:
    decoder = msgspec.json.Decoder(dict[str, list[int]])
    with pytest.raises(Problem) as refused:
        decode(decoder, b'{"a":[1,"x"]}', LIMITS)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert refused.value.errors[0]["message"] == "Expected `int`, got `str`"
