"""What this process counts, in its own Prometheus registry. Labels never hold an id, a name or a tenant."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0)


class Metrics:
    """The counters of one API process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "daybook_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "daybook_http_request_seconds",
            "From the request's head to the head of its answer",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Finding a child by its labels costs more than counting.
        self._bound: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.submitted = Counter(
            "daybook_jobs_submitted", "Jobs accepted by this process", registry=self.registry
        )
        self.blocked = Counter(
            "orchestrator_ratelimit_blocked", "Requests refused by a rate limit", registry=self.registry
        )
        self.ignored = Counter(
            "orchestrator_tasks_ignored",
            "Results of HTTP workers that changed nothing",
            registry=self.registry,
        )
        self.hot = Counter(
            "orchestrator_tasks_hot_dispatched",
            "Tasks given to a worker that had the skill loaded",
            registry=self.registry,
        )
        self._denied = {
            why: Counter(f"orchestrator_{name}", text, registry=self.registry)
            for why, name, text in (
                ("credentials", "security_auth_failures", "Workers without valid credentials"),
                ("identity", "security_identity_mismatch", "Workers that spoke for another one"),
                ("replay", "security_replay_detected", "Messages of workers that were old or came again"),
                ("signature", "signature_invalid", "Messages of workers with a wrong signature, or none"),
            )
        }
        self._file_operations = Counter(
            "orchestrator_s3_operations",
            "What was asked of the store of files",
            ("operation", "status"),
            registry=self.registry,
        )
        self._file_seconds = Histogram(
            "orchestrator_s3_operation_duration_seconds",
            "How long the store of files took",
            ("operation",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.watches = Gauge(
            "daybook_watches", "Clients that wait for or follow a job", registry=self.registry
        )
        self.lag = Gauge("daybook_projector_lag", "Commits the read model is behind", registry=self.registry)

    def denied(self, why: str) -> None:
        """Count one worker that was not let in."""
        self._denied[why].inc()

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. `route` is the path with its parameters unfilled, so that there are few."""
        bound = self._bound.get((method, route, status))
        if bound is None:
            known = method if method in _METHODS else "other"
            bound = self._requests.labels(known, route, str(status)), self._seconds.labels(known, route)
            if known == method:  # what clients invent is not kept
                self._bound[(method, route, status)] = bound
        requests, duration = bound
        requests.inc()
        duration.observe(seconds)

    def file_operation(self, operation: str, status: str, seconds: float) -> None:
        """Count what was asked of the store of files; `status` is success or error."""
        self._file_operations.labels(operation, status).inc()
        self._file_seconds.labels(operation).observe(seconds)

    def render(self) -> bytes:
        """All of it in the text format of Prometheus."""
        return generate_latest(self.registry)
