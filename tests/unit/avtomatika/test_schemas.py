"""Schemas of strangers: what they say is held, and nothing of theirs is fetched or runs long."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.application.schemas import MAX_DEPTH, UnusableSchema, schema_of


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"n": 1}, None),
        ({"n": "one"}, """n: "one" is not of type "integer\""""),
        ({}, '"n" is a required property'),
    ],
)
def test_a_value_is_held_against_its_schema(value: Any, problem: str | None) -> None:
    schema = schema_of({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert schema.problem(value) == problem


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"not": document}
    return document


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"$ref": "http://127.0.0.1:9/schema"}, "127.0.0.1:9"),
        ({"$ref": "file:///etc/passwd"}, "passwd"),
        ({"$schema": "http://127.0.0.1:9/meta"}, "127.0.0.1:9"),
        ({"pattern": "(?=a)b"}, "pattern"),
        ({"enum": ["x" * 70_000]}, "larger than"),
        (nested(MAX_DEPTH + 1), "deeper than"),
        (nested(100_000), "deeper than"),
    ],
)
def test_what_is_not_a_bounded_schema_of_its_own_is_not_used(document: dict[str, Any], why: str) -> None:
    with pytest.raises(UnusableSchema, match=why):
        schema_of(document)


def test_nothing_is_fetched_for_a_schema_though_it_could_be() -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(UnusableSchema):
            schema_of({"$ref": f"http://127.0.0.1:{server.server_port}/schema"})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == []


def test_a_schema_may_refer_to_itself() -> None:
    schema = schema_of({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}})
    assert schema.problem(1) is None
    assert schema.problem("x") is not None


def test_a_pattern_takes_time_that_grows_with_the_text_only() -> None:
    schema = schema_of({"pattern": "^(a|a)*(a|aa)+$"})
    begun = time.monotonic()
    assert schema.problem("a" * 100_000 + "b") is not None
    assert time.monotonic() - begun < 60.0


def test_what_is_said_of_a_long_value_is_short() -> None:
    problem = schema_of({"type": "integer"}).problem("x" * 100_000)
    assert problem is not None
    assert len(problem) <= 500


def test_equal_schemas_are_compiled_once() -> None:
    assert schema_of({"type": "integer", "minimum": 1}) is schema_of({"minimum": 1, "type": "integer"})
