"""What can go wrong with a measurement.

BenchmarkError
├── BadAnswer       the server answered what the load generator does not understand
├── LoadFailed      jobs did not end as they should: the run measures nothing
├── ProcessEnded    a measured process ended in the middle of a run
├── SystemFailed    the system (or a peer) did not start, or did not get where it should in time
└── NotInstalled    a tool or peer that was asked for is not there
"""


class BenchmarkError(Exception):
    """The measurement says nothing; the message says why."""


class BadAnswer(BenchmarkError):
    """The server answered what the load generator does not understand."""


class LoadFailed(BenchmarkError):
    """The load generator could not do its work, or jobs did not end as they should."""


class ProcessEnded(BenchmarkError):
    """A measured process ended in the middle of a run: the run says nothing."""

    def __init__(self, role: str, pid: int) -> None:
        super().__init__(f"{role} (pid {pid}) ended during the run")
        self.role, self.pid = role, pid


class SystemFailed(BenchmarkError):
    """The system, or a peer, did not start or did not get where it should in time."""


class NotInstalled(BenchmarkError):
    """A tool or a peer that was asked for is not on this machine; the message says how to get it."""
