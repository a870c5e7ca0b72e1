"""The client of a run: it asks at a steady pace, and again with the same key until it has an answer."""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import httpx

from tests.faults.ledger import Ledger, Order

AGAIN_SECONDS = 0.1


async def submit(client: httpx.AsyncClient, order: Order, ledger: Ledger) -> None:
    """Ask until there is an answer. A refusal that no fault explains is noted and ends it."""
    while True:
        ledger.sent(order)
        try:
            answer = await client.post("/v1/jobs", json=order.request, headers={"Idempotency-Key": order.key})
        except httpx.TransportError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if answer.status_code == 202:
            job = UUID(answer.json()["job_id"])
            ledger.acknowledged(order.key, job)
            if order.cancel_after is not None:
                await asyncio.sleep(order.cancel_after)
                await cancel(client, order, job, ledger)
            return
        if answer.status_code not in (429, 503):
            ledger.refused(order.key, answer.status_code, answer.text)
            return
        await asyncio.sleep(AGAIN_SECONDS)


async def cancel(client: httpx.AsyncClient, order: Order, job: UUID, ledger: Ledger) -> None:
    """Ask for the end of a job until there is an answer; one that is cancelled already may be asked again."""
    while True:
        try:
            answer = await client.post(f"/v1/jobs/{job}/cancel", json={})
        except httpx.TransportError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if answer.status_code not in (200, 429, 503):
            ledger.refused(order.key, answer.status_code, answer.text)
        if answer.status_code not in (429, 503):
            return
        await asyncio.sleep(AGAIN_SECONDS)


async def drive(
    client: httpx.AsyncClient,
    orders: Sequence[Order],
    ledger: Ledger,
    rate: float,
    in_flight: int = 32,
    told: Callable[[int], None] = lambda done: None,
) -> None:
    """Submit all orders, at most `rate` a second and `in_flight` at a time; `told` hears how many are."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(in_flight)
    done = 0

    async def one(order: Order) -> None:
        nonlocal done
        try:
            await submit(client, order, ledger)
        finally:
            places.release()
        done += 1
        told(done)

    due = loop.time()
    async with asyncio.TaskGroup() as group:
        for order in orders:
            await places.acquire()
            # After a stall the pace goes on, it does not catch up: the load must last as long as the kills.
            due = max(due + 1 / rate, loop.time())
            await asyncio.sleep(due - loop.time())
            group.create_task(one(order))


async def publish(client: httpx.AsyncClient, graphs: dict[str, dict[str, object]]) -> None:
    """Publish the workflows that the orders name."""
    for name, graph in graphs.items():
        answer = await client.put(f"/v1/workflows/{name}", json={"graph": graph})
        assert answer.status_code in (200, 201), answer.text
