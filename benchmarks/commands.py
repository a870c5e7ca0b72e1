"""What the load generator is told, and what it answers: one JSON line each."""

import msgspec

from benchmarks.percentiles import Latency


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A closed loop: `in_flight` clients, each submits a job and waits for its end before the next.

    `request` holds the bytes to send. It runs until `seconds` are over. An answer counts when its status
    is 200 and its body holds `expect`.
    """

    url: str
    request: bytes
    expect: str
    in_flight: int
    seconds: float


class Open(msgspec.Struct, frozen=True, tag="open"):
    """An open loop: a job each 1/`rate` seconds, whether or not the one before came back.

    When the answer is there, `read` (with {job_id} and {sequence} filled in) asks the read model for it.
    """

    url: str
    token: str
    request: bytes
    expect: str
    read: str
    rate: float
    seconds: float


class Bulk(msgspec.Struct, frozen=True, tag="bulk"):
    """Requests of `size` jobs each over `connections`, while at most `window` jobs are unfinished.

    How many are finished is asked from `stats` each 20 ms: a request whose body holds counts by status.
    Stops submitting after `seconds` or `jobs`, whichever comes first, and ends when all are finished.
    """

    url: str
    request: bytes
    stats: bytes
    size: int
    window: int
    connections: int
    seconds: float
    jobs: int | None = None


class Pages(msgspec.Struct, frozen=True, tag="pages"):
    """Walks `pages` pages of a listing, one after the other, following its cursors."""

    url: str
    token: str
    path: str
    pages: int


Command = Closed | Open | Bulk | Pages


class Ran(msgspec.Struct, frozen=True):
    """What a command did.

    `done` jobs (or pages) in `seconds`, from the first request to the last answer; `seen` is the time from
    submit (or ask) to answer, `read` from submit to the read model showing the end;
    `last_sequence` is the newest answer's. `failure` is the first answer that did not count.
    """

    done: int
    failed: int
    seconds: float
    seen: Latency | None
    read: Latency | None = None
    failure: str | None = None
    last_sequence: int = 0


class Refused(msgspec.Struct, frozen=True):
    """The command could not be run at all."""

    error: str


class Reply(msgspec.Struct, frozen=True):
    """One line from the load generator. Exactly one of both is there."""

    ran: Ran | None = None
    refused: Refused | None = None
