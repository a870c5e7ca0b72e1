"""Commits in, rows out: one transaction a batch, rows and position together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from shared.application.ports import StoredCommit
from shared.application.reputation import RESULTS, Standing
from shared.application.summary import OPEN, JobSummary, UnknownEvent, WorkerSummary, WorkflowSummary
from shared.domain.worker import worker_id
from shared.readmodels import queries, tallies
from shared.readmodels.database import Session
from shared.readmodels.errors import PositionMoved, UnfitCommit

# What a malformed event can provoke in a fold, in an encoder or in a decoder.
_MALFORMED = (
    UnknownEvent,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    msgspec.MsgspecError,
)
_INSERT = """INSERT INTO jobs (first_sequence, id, tenant, status, workflow, skill, alias, parent, created_at,
    due_at, sequence, doc, input, output) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A row that comes back into memory comes without its output, which is written once.
_UPDATE = """UPDATE jobs SET status = ?, due_at = ?, sequence = ?, doc = ?, output = COALESCE(?, output)
    WHERE first_sequence = ?"""
_TAG = "INSERT INTO job_tags VALUES (?, ?, ?, ?, ?)"
_COUNT = """INSERT INTO counts VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (tenant, owner, workflow, status) DO UPDATE SET n = counts.n + excluded.n"""
_UNCOUNT = """DELETE FROM counts WHERE tenant = ? AND owner = ? AND workflow = ? AND status = ? AND n = 0"""
_TALLY = """INSERT INTO tallies VALUES (?, ?, ?)
    ON CONFLICT (name, workflow) DO UPDATE SET n = tallies.n + excluded.n"""
_WORKER = """INSERT INTO workers VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc"""
_WORKFLOW = """INSERT INTO workflows VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, deleted = excluded.deleted,
    doc = excluded.doc"""
_STANDING = "INSERT INTO standings VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc"
_POISON = "INSERT INTO poison VALUES (?, ?, ?, ?, ?, ?)"
_MOVE = "UPDATE meta SET value = ? WHERE name = 'position' AND value = ?"


class Projection:
    """The writing side of one store.

    Summaries of open jobs stay in memory, at most `hot` of them; what is not there is read from its row.
    A batch is folded in memory and only each job's last state is written. Memory is filled after the commit
    only, so a transaction that fails leaves nothing behind that the store does not have.
    """

    def __init__(self, session: Session, hot: int = 20_000) -> None:
        self._session = session
        self._capacity = hot
        self._hot: dict[UUID, JobSummary] = {}
        self.position = queries.position(session)
        self.poisoned = 0

    def project(self, commits: Sequence[StoredCommit]) -> int:
        """Store what the commits (ascending) say, skipping those the store has; the new position.

        A commit that cannot become rows is kept in `poison` and the others go on. Raises PositionMoved when
        another projector wrote meanwhile: nothing was stored, and this object has read the position again.
        """
        fresh = [commit for commit in commits if commit.sequence > self.position]
        if not fresh:
            return self.position
        try:
            self._store_or_poison(fresh)
        except PositionMoved:
            self._hot.clear()
            self.position = queries.position(self._session)
            raise
        return self.position

    def _store_or_poison(self, commits: Sequence[StoredCommit]) -> None:
        try:
            self._store(commits)
        except UnfitCommit as error:
            if len(commits) == 1:
                self._store([], commits[0], str(error))
                self.poisoned += 1
            else:
                for commit in commits:
                    self._store_or_poison([commit])

    def _store(
        self, commits: Sequence[StoredCommit], poison: StoredCommit | None = None, reason: str = ""
    ) -> None:
        last = poison.sequence if poison is not None else commits[-1].sequence
        try:
            with self._session.transaction():
                if self._session.write(_MOVE, [(last, self.position)]) != 1:
                    raise PositionMoved(self.position)
                batch = _Batch(self._session, self._hot)
                batch.load(commits)
                for commit in commits:
                    batch.fold(commit)
                batch.write()
                if poison is not None:
                    self._session.write(_POISON, [_poison_row(poison, reason)])
        except BaseException:
            # The folds changed these in place, and the store did not take it.
            for commit in commits:
                self._hot.pop(commit.id, None)
            raise
        self.position = last
        self._keep(batch.jobs)

    def _keep(self, jobs: Mapping[UUID, JobSummary]) -> None:
        hot = self._hot
        for id_, job in jobs.items():
            hot.pop(id_, None)
            if job.ended_at is None:
                job.input = None
                hot[id_] = job
        while len(hot) > self._capacity:
            del hot[next(iter(hot))]


@dataclass(slots=True)
class _Batch:
    """The rows that one transaction changes."""

    session: Session
    hot: Mapping[UUID, JobSummary]
    jobs: dict[UUID, JobSummary] = field(default_factory=dict)
    stored_status: dict[UUID, str] = field(default_factory=dict)
    docs: dict[UUID, bytes] = field(default_factory=dict)
    workers: dict[UUID, WorkerSummary] = field(default_factory=dict)
    workflows: dict[UUID, WorkflowSummary] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)

    def load(self, commits: Sequence[StoredCommit]) -> None:
        """Bring in every row that the commits may change."""
        cold: dict[UUID, None] = {}
        for commit in commits:
            id_ = commit.id
            if commit.kind == "job":
                job = self.hot.get(id_)
                if job is not None:
                    self._known(id_, job)
                elif commit.n != 1:
                    cold[id_] = None
            elif commit.kind == "worker":
                for (doc,) in self.session.rows("SELECT doc FROM workers WHERE id = ?", (id_.bytes,)):
                    self.workers[id_] = msgspec.json.decode(doc, type=WorkerSummary)
            elif commit.kind == "workflow":
                for (doc,) in self.session.rows("SELECT doc FROM workflows WHERE id = ?", (id_.bytes,)):
                    self.workflows[id_] = msgspec.json.decode(doc, type=WorkflowSummary)
        for some in queries.batched([id_.bytes for id_ in cold]):
            marks = ", ".join("?" * len(some))
            for key, doc in self.session.rows(f"SELECT id, doc FROM jobs WHERE id IN ({marks})", some):  # noqa: S608
                self._known(UUID(bytes=bytes(key)), queries.summary_of(doc))

    def fold(self, commit: StoredCommit) -> None:
        """Raises UnfitCommit when the commit is not whole, not known or not in turn."""
        try:
            if commit.kind == "job":
                self._fold_job(commit)
            elif commit.kind == "worker":
                self._fold_into(commit, self.workers.setdefault(commit.id, WorkerSummary(str(commit.id))))
            elif commit.kind == "workflow":
                self._fold_into(commit, self.workflows.setdefault(commit.id, WorkflowSummary(str(commit.id))))
        except _MALFORMED as error:
            raise UnfitCommit(f"{type(error).__name__}: {error}") from error

    def write(self) -> None:
        """Raises UnfitCommit when a value fits no column."""
        try:
            self._write()
        except _MALFORMED as error:
            raise UnfitCommit(f"{type(error).__name__}: {error}") from error

    def _known(self, id_: UUID, job: JobSummary) -> None:
        if id_ not in self.jobs:
            self.jobs[id_] = job
            self.stored_status[id_] = job.status

    def _fold_job(self, commit: StoredCommit) -> None:
        job = self.jobs.get(commit.id)
        if job is None:
            if commit.n != 1:
                raise UnfitCommit(f"version {commit.n} of a job whose first commit is not known")
            job = self.jobs[commit.id] = JobSummary(str(commit.id))
        elif commit.n <= job.version_of_job:
            raise UnfitCommit(f"version {commit.n} comes after version {job.version_of_job}")
        if not commit.events:
            raise UnfitCommit("no events")
        for topic, data in commit.events:
            job.apply(topic, data, commit.at, commit.sequence)
            if topic in RESULTS:
                self._standing(data["worker"]).apply(topic, data, commit.at)
        # A poisoned commit between leaves a gap in the versions, not in the rows that follow.
        job.version_of_job = commit.last_version
        # What decodes is of the types that the columns and the readers expect. Each commit is checked by
        # itself: what is poison must not depend on which commits happen to share a batch.
        job_input, output = job.input, job.output
        job.input = job.output = None
        doc = self.docs[commit.id] = _encode(job)
        job.input, job.output = job_input, output
        _check(doc)

    def _standing(self, worker: str) -> Standing:
        standing = self.standings.get(worker)
        if standing is None:
            standing = queries.standing(self.session, worker_id(worker)) or Standing()
            self.standings[worker] = standing
        return standing

    def _fold_into(self, commit: StoredCommit, summary: WorkerSummary | WorkflowSummary) -> None:
        if not commit.events:
            raise UnfitCommit("no events")
        for topic, data in commit.events:
            summary.apply(topic, data, commit.at, commit.sequence)

    def _write(self) -> None:
        inserts: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        tags: list[tuple[Any, ...]] = []
        counted: dict[tuple[str, str, str, str], int] = defaultdict(int)
        tallied: dict[tuple[str, str], int] = defaultdict(int)
        for id_, job in self.jobs.items():
            before = self.stored_status.get(id_)
            doc, job_input, output = self.docs[id_], job.input, job.output
            stored_output = None if output is None else _encode(output)
            if before is None:
                parent = UUID(job.parent["job"]).bytes if job.parent else None
                inserts.append(
                    (
                        job.first_sequence,
                        id_.bytes,
                        job.tenant,
                        job.status,
                        job.workflow,
                        job.skill,
                        job.alias,
                        parent,
                        job.created_at,
                        job.due_at,
                        job.sequence,
                        doc,
                        None if job_input is None else _encode(job_input),
                        stored_output,
                    )
                )
                for name, value in job.tags.items():
                    tags.append((job.tenant, name, value, job.created_at, job.first_sequence))
                counted[_counted(job, job.status)] += 1
                for name, n in tallies.of_beginning(job):
                    tallied[name, job.workflow or ""] += n
            else:
                updates.append((job.status, job.due_at, job.sequence, doc, stored_output, job.first_sequence))
                if before != job.status:
                    counted[_counted(job, before)] -= 1
                    counted[_counted(job, job.status)] += 1
            if job.is_ended and (before is None or before in OPEN):
                for name, n in tallies.of_end(job):
                    tallied[name, job.workflow or ""] += n
        write = self.session.write
        if inserts:
            write(_INSERT, inserts)
        if updates:
            changed = write(_UPDATE, updates)
            assert changed == len(updates), "each known job has its row"
        if tags:
            write(_TAG, tags)
        moved: list[tuple[Any, ...]] = sorted((*key, n) for key, n in counted.items() if n)
        if moved:
            write(_COUNT, moved)
        if gone := [entry[:-1] for entry in moved if entry[-1] < 0]:
            write(_UNCOUNT, gone)
        if tallied:
            write(_TALLY, sorted((*key, n) for key, n in tallied.items()))
        if self.workers:
            write(_WORKER, [(id_.bytes, w.name, _checked(w)) for id_, w in self.workers.items()])
        if self.standings:
            write(
                _STANDING, [(worker_id(w).bytes, _encode(standing)) for w, standing in self.standings.items()]
            )
        if self.workflows:
            write(
                _WORKFLOW,
                [
                    (id_.bytes, w.tenant, w.name, int(w.deleted), _checked(w))
                    for id_, w in self.workflows.items()
                ],
            )


def _counted(job: JobSummary, status: str) -> tuple[str, str, str, str]:
    return job.tenant, job.owner, job.workflow or "", status


def _checked(summary: WorkerSummary | WorkflowSummary) -> bytes:
    doc = _encode(summary)
    msgspec.json.decode(doc, type=type(summary))
    return doc


def _poison_row(commit: StoredCommit, reason: str) -> tuple[Any, ...]:
    # The reason quotes what was in the commit: keep it short and free of what PostgreSQL's text refuses.
    clean = reason[:500].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return commit.sequence, commit.kind, str(commit.id), commit.at, clean, commit.raw


_encode = msgspec.json.Encoder().encode
_check = msgspec.json.Decoder(JobSummary).decode
