"""Counts and single uses on a real server."""

import asyncio

import pytest

from shared.broker.counters import Counters, Uses
from shared.broker.publisher import Publisher
from tests.support.nats import NatsServer

pytestmark = pytest.mark.connected


async def test_processes_add_to_one_count_which_survives_the_server(nats_server: NatsServer) -> None:
    counters = [Counters(await Publisher.start(await nats_server.connect())) for _ in range(2)]
    assert await counters[0].value("count.x") == 0
    await asyncio.gather(*(each.add("count.x", 3) for each in counters for _ in range(50)))
    assert await counters[1].value("count.x") == 300
    await nats_server.restart()
    again = Counters(await Publisher.start(await nats_server.connect()))
    assert await again.add("count.x", -1) == 299
    assert await again.value("count.y") == 0


async def test_a_name_is_used_once_by_all_processes_and_over_a_restart(nats_server: NatsServer) -> None:
    uses = [Uses(await Publisher.start(await nats_server.connect())) for _ in range(2)]
    assert sorted(await asyncio.gather(*(each.take("use.one") for each in uses * 5))) == [False] * 9 + [True]
    await nats_server.restart()
    again = Uses(await Publisher.start(await nats_server.connect()))
    assert not await again.take("use.one")
    assert await again.take("use.other")
