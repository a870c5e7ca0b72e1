"""The client for programs on asyncio: the same calls, awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from daybook.client import calls
from daybook.client.calls import Call, Item, JobId
from daybook.client.models import Changed, Event, Job, JobOptions, Submitted, Worker, Workflow
from daybook.client.sse import EventReader
from daybook.errors import ApiError, ServerUnreachable, WaitTimeout

T = TypeVar("T")
Many = list  # the method of that name hides the type inside the class


class AsyncClient:
    """Submits and watches jobs, on one event loop; close it, or use it in an `async with`.

    `url` and `token` default to DAYBOOK_URL and DAYBOOK_CLIENT_TOKEN. A call that may safely be sent twice is
    repeated up to `retries` times when the server cannot be reached or says that it is busy; every submit
    carries an Idempotency-Key, so that a repeated one makes no second job.

    All calls raise ApiError (see daybook.errors) or ServerUnreachable.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url, headers = calls.origin(url, token)
        self._retries, self._timeout = retries, timeout
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def submit(
        self,
        workflow: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 (the word of the API)
        *,
        skill: str | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Submitted:
        """Submit a job of a workflow, or of one skill.

        The same `idempotency_key` is the same job, for ever.
        """
        return await self._do(calls.submit(workflow, skill, input, idempotency_key, options))

    async def submit_many(
        self, jobs: Iterable[Item], *, idempotency_key: str | None = None
    ) -> list[Submitted | ApiError]:
        """Submit up to 1000 jobs, each a dict of what `submit` takes by name; the answers are in their order.

        One bad job does not stop the others: its answer is the error, returned and not raised.
        """
        return await self._do(calls.submit_many(jobs, idempotency_key))

    async def run(
        self,
        workflow: str | None = None,
        input: Mapping[str, Any] | None = None,  # noqa: A002 (the word of the API)
        *,
        skill: str | None = None,
        timeout: float = 60.0,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Submit and wait for the end, whatever it is. Raises WaitTimeout; the job then goes on."""
        started = time.monotonic()
        submitting = calls.submit(workflow, skill, input, idempotency_key, options)
        found = await self._do(calls.run(submitting, timeout))
        if isinstance(found, Job):
            return found
        return await self.wait(found.job_id, max(0.0, timeout - (time.monotonic() - started)))

    async def get(self, job_id: JobId, *, min_sequence: int = 0) -> Job:
        """A job. With `min_sequence` (of a Submitted, Changed or Event) the answer is at least that new."""
        return await self._do(calls.get(job_id, min_sequence))

    async def wait(self, job_id: JobId, timeout: float = 60.0) -> Job:
        """The ended job. Raises WaitTimeout after `timeout` seconds; the job then goes on."""
        deadline = time.monotonic() + timeout
        async for event in self._watch(job_id, "", deadline):
            if event.ends_job:
                return await self.get(job_id, min_sequence=event.sequence)
        job = await self.get(job_id)
        if job.is_ended:
            return job
        raise WaitTimeout(job.job_id, timeout, job.status)

    async def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        workflow: str | None = None,
        skill: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent: JobId | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Job]:
        """All jobs that fit every filter, newest first, without input and output.

        Pages are fetched as you go.
        """
        filters = calls.filters(status, workflow, skill, tags, parent)
        cursor: str | None = None
        while True:
            page = await self._do(calls.page(filters, page_size, cursor))
            for job in page.items:
                yield job
            cursor = page.next
            if cursor is None:
                return

    async def history(self, job_id: JobId) -> Many[Event]:
        """All events of a job, in order."""
        return await self._do(calls.history(job_id))

    def watch(self, job_id: JobId, *, last_event_id: str = "") -> AsyncIterator[Event]:
        """The events of a job, first those that were, then those that come, up to the one that ends it.

        A lost connection is made again, and no event is missing or comes twice.
        """
        return self._watch(job_id, last_event_id, None)

    async def cancel(self, job_id: JobId, *, reason: str | None = None) -> Changed:
        """End a job. Raises Conflict when it has ended otherwise."""
        return await self._do(calls.command(job_id, "cancel", {"reason": reason}))

    async def pause(self, job_id: JobId) -> Changed:
        """Start nothing new in a job until it is resumed."""
        return await self._do(calls.command(job_id, "pause"))

    async def resume(self, job_id: JobId) -> Changed:
        return await self._do(calls.command(job_id, "resume"))

    async def approve(self, job_id: JobId, decision: str = "approved", *, name: str | None = None) -> Changed:
        """Decide what a job waits for; `name` tells which wait when it has several."""
        return await self._do(
            calls.command(job_id, "approve", {"decision": decision, "name": name}, twice=False)
        )

    async def signal(self, job_id: JobId, name: str, payload: Any = None) -> Changed:
        """Send a signal that a job waits for."""
        return await self._do(calls.signal(job_id, name, payload))

    async def retry(self, job_id: JobId, *, idempotency_key: str | None = None) -> Submitted:
        """Run an ended job again, as a new job with the same input."""
        return await self._do(calls.retry(job_id, idempotency_key))

    async def publish_workflow(self, name: str, graph: Mapping[str, Any]) -> Workflow:
        """Publish a graph; the same graph again is the same version. Raises InvalidWorkflow."""
        return await self._do(calls.publish_workflow(name, graph))

    async def workflow(self, name: str, *, version: int | None = None) -> Workflow:
        """A workflow's newest or given version; its graph is in `raw["graph"]`."""
        return await self._do(calls.workflow(name, version))

    async def workflows(self) -> Many[Workflow]:
        return await self._do(calls.workflows())

    async def workers(self) -> Many[Worker]:
        return await self._do(calls.workers())

    async def stats(self) -> dict[str, Any]:
        """How many jobs are in each status."""
        return await self._do(calls.stats())

    async def health(self, kind: str = "ready") -> dict[str, Any]:
        """Whether the server is `live` or `ready`; raises ServerError with the reasons when it is not."""
        return await self._do(calls.health(kind))

    async def _do(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            try:
                return call.answer(await self._send(call))
            except (ApiError, ServerUnreachable) as failure:
                attempt += 1
                pause = calls.pause_before(call, attempt, self._retries, failure)
                if pause is None:
                    raise
                await asyncio.sleep(pause)

    async def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return await self._http.request(**call.request(self._timeout))
        except httpx.TransportError as error:
            raise ServerUnreachable(self.url, str(error) or type(error).__name__) from error

    async def _watch(self, job_id: JobId, last_event_id: str, deadline: float | None) -> AsyncIterator[Event]:
        reader = EventReader()
        reader.last_id = last_event_id
        failures = 0
        while deadline is None or time.monotonic() < deadline:
            try:
                async for event in self._stream(job_id, reader, deadline):
                    failures = 0
                    yield event
                    if event.ends_job:
                        return
            except httpx.TransportError as error:
                if deadline is not None and time.monotonic() >= deadline:
                    return
                failures += 1
                if failures > max(self._retries, 0):
                    raise ServerUnreachable(self.url, str(error) or type(error).__name__) from error
            reader.reconnected()
            await asyncio.sleep(min(0.1 * 2**failures, 2.0))

    async def _stream(
        self, job_id: JobId, reader: EventReader, deadline: float | None
    ) -> AsyncIterator[Event]:
        left = None if deadline is None else deadline - time.monotonic()
        asked = calls.stream(job_id, reader.last_id, self._timeout, left)
        async with self._http.stream(**asked) as response:
            if not response.is_success:
                await response.aread()
                raise calls.problem_of(response)
            async for line in response.aiter_lines():
                event = reader.line(line)
                if event is not None:
                    yield event
                if deadline is not None and time.monotonic() >= deadline:
                    return
