"""The metrics under the names that operators of blueprints know, counted from the read model when asked."""

import asyncio
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.api.metrics import Metrics
from services.api.reads import Reads
from shared.application.blueprint_jobs import TRIGGER_TAG

FAILED: Final = ("failed", "timed_out", "quarantined")
TENANT: Final = "default"
"""Schedules of a file belong to the tenant of the server's own credentials."""
QUEUED: Final = ("pending", "queued")
PAUSE_SECONDS: Final = 0.01


class PublicMetrics:
    """Renders what this process counts, and what the read model knows of all jobs and workers."""

    def __init__(self, metrics: Metrics, reads: Reads) -> None:
        self._metrics, self._reads = metrics, reads

    async def render(self) -> bytes:
        """The text format of Prometheus."""
        counts = await self._reads.counts()
        workers = [worker for worker in await self._reads.workers() if worker.status == "online"]
        registry = CollectorRegistry()
        scheduled = await self._reads.count_of_tag(TENANT, *TRIGGER_TAG)
        registry.register(_Derived(counts, len(workers), scheduled, await _lag()))
        return self._metrics.render() + generate_latest(registry)


async def _lag() -> float:
    """Seconds by which a short pause took longer than it should."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(PAUSE_SECONDS)
    return max(0.0, loop.time() - begun - PAUSE_SECONDS)


class _Derived(Collector):
    def __init__(self, counts: dict[str, int], workers: int, scheduled: int, lag: float) -> None:
        self._counts, self._workers, self._scheduled, self._lag = counts, workers, scheduled, lag

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        failed = sum(counts.get(status, 0) for status in FAILED)
        queued = sum(counts.get(status, 0) for status in QUEUED)
        yield CounterMetricFamily("orchestrator_jobs", "Jobs ever accepted", sum(counts.values()))
        yield CounterMetricFamily("orchestrator_jobs_failed", "Jobs that ended without success", failed)
        yield CounterMetricFamily(
            "orchestrator_jobs_timeouts", "Jobs whose time ran out", counts.get("timed_out", 0)
        )
        yield CounterMetricFamily(
            "orchestrator_scheduler_jobs_triggered", "Jobs that schedules made", self._scheduled
        )
        yield GaugeMetricFamily("orchestrator_task_queue_length", "Jobs that wait to be worked on", queued)
        yield GaugeMetricFamily("orchestrator_active_workers", "Workers that are there", self._workers)
        yield GaugeMetricFamily(
            "orchestrator_loop_lag_seconds", "How late this process's loop came back", self._lag
        )
