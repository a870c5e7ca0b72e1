"""The metrics under the names that operators of blueprints know, counted from the read model when asked."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.api.metrics import Metrics
from services.api.reads import Reads
from shared.readmodels.queries import Measures
from shared.readmodels.tallies import SCHEDULED, histogram

FAILED: Final = ("failed", "timed_out", "quarantined")
QUEUED: Final = ("pending", "queued")
PAUSE_SECONDS: Final = 0.01
LABELS: Final = ["blueprint"]
TALLIES: Final = (
    ("policy_violations", "error:policy_violation", "Jobs that asked for a skill their policy forbids"),
    ("holarchy_depth_exceeded", "error:depth_bound", "Jobs that ended because jobs were nested too deep"),
    ("scheduler_jobs_triggered", SCHEDULED, "Jobs that a schedule began"),
)


class PublicMetrics:
    """Renders what this process counts, and what the read model knows of all jobs and workers."""

    def __init__(self, metrics: Metrics, reads: Reads) -> None:
        self._metrics, self._reads = metrics, reads

    async def render(self) -> bytes:
        """The text format of Prometheus."""
        measures, poison = await self._reads.measures(), await self._reads.poison_count()
        workers = [worker for worker in await self._reads.workers() if worker.status == "online"]
        registry = CollectorRegistry()
        registry.register(_Derived(measures, poison, len(workers), await _lag()))
        return self._metrics.render() + generate_latest(registry)


async def _lag() -> float:
    """Seconds by which a short pause took longer than it should."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(PAUSE_SECONDS)
    return max(0.0, loop.time() - begun - PAUSE_SECONDS)


class _Derived(Collector):
    def __init__(self, measures: Measures, poison: int, workers: int, lag: float) -> None:
        self._measures, self._poison, self._workers, self._lag = measures, poison, workers, lag

    def collect(self) -> Iterator[Metric]:
        yield self._counter("jobs", "Jobs ever accepted", None)
        yield self._counter("jobs_failed", "Jobs that ended without success", FAILED)
        yield self._counter("jobs_timeouts", "Jobs whose time ran out", ("timed_out",))
        queue = GaugeMetricFamily(
            "orchestrator_task_queue_length", "Jobs that wait to be worked on", labels=LABELS
        )
        for workflow, counts in self._measures.counts.items():
            queue.add_metric([workflow], sum(counts.get(status, 0) for status in QUEUED))
        yield queue
        took = HistogramMetricFamily(
            "orchestrator_job_duration_seconds", "From acceptance to the end", labels=LABELS
        )
        for workflow, tallies in self._measures.tallies.items():
            took.add_metric([workflow], *histogram(tallies))
        yield took
        for name, tally, text in TALLIES:
            family = CounterMetricFamily(f"orchestrator_{name}", text, labels=LABELS)
            for workflow, tallies in self._measures.tallies.items():
                if tally in tallies:
                    family.add_metric([workflow], tallies[tally])
            yield family
        yield CounterMetricFamily(
            "orchestrator_history_integrity_failures",
            "Commits of the journal that could not be read as what they should be",
            self._poison,
        )
        yield GaugeMetricFamily("orchestrator_active_workers", "Workers that are there", self._workers)
        yield GaugeMetricFamily(
            "orchestrator_loop_lag_seconds", "How late this process's loop came back", self._lag
        )

    def _counter(self, name: str, text: str, statuses: Sequence[str] | None) -> CounterMetricFamily:
        """Jobs in some statuses (None: in any), by blueprint."""
        family = CounterMetricFamily(f"orchestrator_{name}", text, labels=LABELS)
        for workflow, counts in self._measures.counts.items():
            family.add_metric(
                [workflow], sum(n for s, n in counts.items() if statuses is None or s in statuses)
            )
        return family
