"""Subjects, and the tokens that they are made of. Nobody else builds or takes apart a subject.

Ids in subjects are always ours: a UUID is written in base32hex (RFC 4648, section 7), lower-case, without
padding, 26 characters. A foreign name never becomes a token, because JetStream accepts a publish to the
literal `t.>`.
"""

import re
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

JOURNAL = "JOURNAL"
TIMERS = "TIMERS"
COUNTERS = "COUNTERS"
USES = "USES"
SNAPSHOTS = "SNAPSHOTS"

LANES = "lanes"
HELLOS = "worker.*.hello"
BEATS = "worker.*.beat"
REPORTS = "report.*"
COMMANDS = "command.*"
TAKES = "take"
"""The gateway asks for a held task of a skill, for one of its workers."""
FIRED = "fired.>"
RESTART = "system.restart"
"""Whoever holds state of the journal in memory ends at this, to be started again. Development only."""
CONTROLS = "control.>"

OUR_INBOX = "_DAYBOOK"
"""The inbox prefix of our own processes, which no right of a worker ever names."""
WORKER_INBOX = "_INBOX"
_ACROSS_ACCOUNTS = "_R_."
"""The prefix of what the server makes of reply subjects from another account; it lets no client name one."""
_INBOXES = (f"{OUR_INBOX}.", f"{WORKER_INBOX}.", _ACROSS_ACCOUNTS)

PLACED = "@placed"
"""The token of the one queue of tasks whose worker is chosen. No skill has it: no skill's token has an @."""
TAKEN = "@taken"
"""The token of no queue, of what is given to a worker by the decision that releases it."""
RELEASES = "journal.job.*.*.run.>"
"""All commits that release a task."""
PLACED_TASKS = f"journal.job.*.*.run.{PLACED}"


def is_inbox(subject: str) -> bool:
    """Whether a subject can be one on which somebody waits for an answer, and nothing else.

    Who asks names the subject of the answer, and may name one that it must not publish on itself: an answer
    sent there by a process that may would be a forgery, of a commit say.
    """
    return subject.startswith(_INBOXES)


def id_token(id: UUID) -> str:  # noqa: A002
    """The UUID as one subject token of 26 characters."""
    number = id.int << 2  # 130 bits: 13 pairs of digits
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def id_of(token: str) -> UUID:
    """The UUID that `token` stands for; ValueError when it is not such a token."""
    # the digits of Python's base 32 are the alphabet of base32hex
    number = int(token, 32) if _ID.fullmatch(token) else 1
    if number & 3:
        raise ValueError(f"not an id token: {token!r}")
    return UUID(int=number >> 2)


@lru_cache(maxsize=4096)
def skill_token(name: str) -> str:
    """The token of a skill's queue: the name itself when it is plain, else a slug, "=" and a hash.

    A plain name is 1 to 40 of `a-z 0-9 _ -`. The "=" keeps an escaped name from ever being a plain one.
    """
    if _PLAIN.fullmatch(name):
        return name
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:27]
    return f"{slug}={sha256(name.encode()).hexdigest()[:12]}"


def skill_consumer(skill: str) -> str:
    """The name of the durable consumer that is the queue of `skill`."""
    return f"skill_{skill_token(skill)}"


def skill_filter(skill: str) -> str:
    """The subjects whose commits release a task of `skill`."""
    return f"journal.job.*.*.run.{skill_token(skill)}"


def commit_subject(kind: str, id: UUID, n: int, skill: str | None = None) -> str:  # noqa: A002
    """Where the commit of `n` is stored; `skill` is the token of the queue that it feeds."""
    tail = "note" if skill is None else f"run.{skill}"
    return f"journal.{kind}.{id_token(id)}.{n}.{tail}"


def aggregate_filter(kind: str, id: UUID) -> str:  # noqa: A002
    """All commits of one aggregate."""
    return f"journal.{kind}.{id_token(id)}.>"


def snapshot(kind: str, id: UUID) -> str:  # noqa: A002
    """Where the snapshot of an aggregate lies."""
    return f"snapshot.{kind}.{id_token(id)}"


def kind_filter(kind: str) -> str:
    """All commits of one kind of aggregate."""
    return f"journal.{kind}.>"


class CommitSubject(NamedTuple):
    """A commit's subject, taken apart."""

    kind: str
    id: UUID
    n: int
    skill: str | None


def parse_commit(subject: str) -> CommitSubject:
    """Take a commit's subject apart; ValueError when it is not one."""
    parts = subject.split(".")
    match parts:
        case ["journal", kind, token, n, "note"]:
            return CommitSubject(kind, id_of(token), int(n), None)
        case ["journal", kind, token, n, "run", skill]:
            return CommitSubject(kind, id_of(token), int(n), skill)
        case _:
            raise ValueError(f"not the subject of a commit: {subject!r}")


def report(job: UUID) -> str:
    return f"report.{id_token(job)}"


def command(job: UUID) -> str:
    return f"command.{id_token(job)}"


def hello(worker: UUID) -> str:
    return f"worker.{id_token(worker)}.hello"


def beat(worker: UUID) -> str:
    return f"worker.{id_token(worker)}.beat"


def control(worker: UUID) -> str:
    return f"control.{id_token(worker)}"


def skill_control(skill: str) -> str:
    return f"control.skill.{skill_token(skill)}"


def timer(job: UUID, name: str) -> str:
    """Where the schedule of a wake-up is stored. `name` is made of plain tokens by us."""
    return f"timer.{id_token(job)}.{_timer_name(name)}"


def fired(job: UUID, name: str) -> str:
    """Where the wake-up itself is stored when it is due."""
    return f"fired.{id_token(job)}.{_timer_name(name)}"


def parse_fired(subject: str) -> tuple[UUID, str]:
    """The job and the name of a fired wake-up; ValueError when `subject` is not one."""
    match subject.split("."):
        case ["fired", token, name]:
            return id_of(token), name
        case _:
            raise ValueError(f"not the subject of a wake-up: {subject!r}")


def id_in(subject: str) -> UUID:
    """The id in the second token: the job of a report or command, the worker of a hello or beat."""
    return id_of(subject.split(".", 2)[1])


def _timer_name(name: str) -> str:
    if not _TIMER.fullmatch(name):
        raise ValueError(f"not the name of a wake-up: {name!r}")
    return name


_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
_SHIFTS = range(120, -1, -10)
_ID = re.compile(r"[0-9a-v]{26}")
_PLAIN = re.compile(r"[a-z0-9_-]{1,40}")
_TIMER = re.compile(r"[A-Za-z0-9_-]{1,80}")


def quota(month: str, client: UUID) -> str:
    """Where the requests of a client in a month ("2026-01") are counted."""
    return f"count.quota.{month}.{id_token(client)}"


def use(name: UUID) -> str:
    """Where a single use is remembered."""
    return f"use.{id_token(name)}"
