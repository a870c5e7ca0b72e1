"""Changing what is stored, behind everybody's back: the system is stopped, the broker is started by hand.

A forger with all rights can write the stream anew, message by message, and leave no other trace than the
hash chain. A disk can flip a bit, which the broker's own checksums see.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from shared.broker.embedded import EmbeddedServer
from tests.faults.reading import STREAM
from tests.support.system import WORKER_TOKEN, System

Message = tuple[int, str, bytes]


async def write_anew(system: System, messages: list[Message]) -> None:
    """Put `messages` in the place of the whole stream, in their order, under the same sequences."""
    server = EmbeddedServer(
        system.data / "nats", worker_token=WORKER_TOKEN, port=system.nats_port, sync="default"
    )
    server.start()
    try:
        await server.wait_ready()
        nc = await nats.connect(server.url, user="daybook", password=server.password)
        try:
            config = (await _api(nc, f"STREAM.INFO.{STREAM}"))["config"]
            await _api(nc, f"STREAM.DELETE.{STREAM}")
            await _api(nc, f"STREAM.CREATE.{STREAM}", config)
            for sequence, subject, raw in messages:
                acknowledgement = await nc.jetstream().publish(subject, raw)
                assert acknowledgement.seq == sequence
        finally:
            await nc.close()
        await server.stop()
    finally:
        server.kill()


def changed(messages: list[Message], which: int, change: Callable[[dict[str, Any]], None]) -> list[Message]:
    """The messages with the body of the one at sequence `which` changed in place."""
    forged = list(messages)
    sequence, subject, raw = forged[which - 1]
    body = json.loads(raw)
    change(body)
    forged[which - 1] = (sequence, subject, json.dumps(body, separators=(",", ":")).encode())
    return forged


def flip_a_bit(system: System, text: bytes) -> Path:
    """Flip one bit of the last place in the journal's files that holds `text`; the file."""
    for path in sorted((system.data / "nats").rglob(f"{STREAM}/msgs/*.blk"), reverse=True):
        stored = bytearray(path.read_bytes())
        place = stored.rfind(text)
        if place >= 0:
            stored[place] ^= 1
            path.write_bytes(stored)
            return path
    raise AssertionError(f"no file of the journal holds {text!r}")


async def _api(nc: Client, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await nc.request(f"$JS.API.{call}", json.dumps(body or {}).encode(), timeout=30)
    content: dict[str, Any] = json.loads(answer.data)
    assert "error" not in content, content["error"]
    return content
