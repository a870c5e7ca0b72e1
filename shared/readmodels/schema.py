"""The tables. One text for both backends; what they spell differently is filled in by the backend.

`jobs` is keyed by the stream sequence of the job's first commit: unique, ever growing (so that inserts
append), and the tie-break of "newest first". Each index ends in that order, so that a page is a short walk
along one index. What is only shown lives in `doc`; `input` and `output` stand apart, because lists do not
read them and updates do not write them again.
"""

from typing import Final

VERSION: Final = 3

# Every table that derives from the journal alone, with the columns that order it. `meta` does not: it says
# where and what the store is.
KEYS: Final = {
    "counts": "tenant, owner, workflow, status",
    "job_tags": "tenant, name, value, created_at, first_sequence",
    "jobs": "first_sequence",
    "poison": "sequence",
    "standings": "id",
    "tallies": "name, workflow",
    "workers": "id",
    "workflows": "id",
}


def statements(*, text: str, serial: str, blob: str, clustered: str, tail: str) -> list[str]:
    """The DDL, with the backend's words filled in.

    `text` is a type that sorts by code point, `serial` types a 64-bit key, `blob` bytes, `clustered` ends a
    table that is its own index, `tail` ends each index with `first_sequence` where no row id does.
    """
    return [
        f"CREATE TABLE meta (name {text} PRIMARY KEY, value BIGINT NOT NULL)",
        f"INSERT INTO meta VALUES ('schema', {VERSION}), ('position', 0)",  # noqa: S608
        f"""CREATE TABLE jobs (
            first_sequence {serial} PRIMARY KEY,
            id {blob} NOT NULL UNIQUE,
            tenant {text} NOT NULL,
            status {text} NOT NULL,
            workflow {text},
            skill {text},
            alias {text},
            parent {blob},
            created_at BIGINT NOT NULL,
            due_at BIGINT,
            sequence BIGINT NOT NULL,
            doc {blob} NOT NULL,
            input {blob},
            output {blob})""",
        f"CREATE INDEX jobs_status ON jobs (tenant, status, created_at{tail})",
        f"""CREATE INDEX jobs_workflow ON jobs (tenant, workflow, created_at{tail})
            WHERE workflow IS NOT NULL""",
        f"""CREATE INDEX jobs_skill ON jobs (tenant, skill, created_at{tail})
            WHERE skill IS NOT NULL""",
        f"CREATE INDEX jobs_alias ON jobs (tenant, alias, created_at{tail}) WHERE alias IS NOT NULL",
        f"CREATE INDEX jobs_parent ON jobs (parent, created_at{tail}) WHERE parent IS NOT NULL",
        f"CREATE INDEX jobs_due ON jobs (due_at{tail}) WHERE due_at IS NOT NULL",
        f"""CREATE TABLE job_tags (
            tenant {text} NOT NULL,
            name {text} NOT NULL,
            value {text} NOT NULL,
            created_at BIGINT NOT NULL,
            first_sequence BIGINT NOT NULL,
            PRIMARY KEY (tenant, name, value, created_at, first_sequence)){clustered}""",
        f"""CREATE TABLE counts (
            tenant {text} NOT NULL, owner {text} NOT NULL, workflow {text} NOT NULL, status {text} NOT NULL,
            n BIGINT NOT NULL,
            PRIMARY KEY (tenant, owner, workflow, status)){clustered}""",
        f"""CREATE TABLE tallies (
            name {text} NOT NULL, workflow {text} NOT NULL, n BIGINT NOT NULL,
            PRIMARY KEY (name, workflow)){clustered}""",
        f"CREATE TABLE standings (id {blob} PRIMARY KEY, doc {blob} NOT NULL)",
        f"CREATE TABLE workers (id {blob} PRIMARY KEY, name {text} NOT NULL, doc {blob} NOT NULL)",
        f"""CREATE TABLE workflows (
            id {blob} PRIMARY KEY, tenant {text} NOT NULL, name {text} NOT NULL, deleted BIGINT NOT NULL,
            doc {blob} NOT NULL)""",
        "CREATE INDEX workflows_name ON workflows (tenant, name)",
        f"""CREATE TABLE poison (
            sequence {serial} PRIMARY KEY, kind {text} NOT NULL, id {text} NOT NULL, at BIGINT NOT NULL,
            reason {text} NOT NULL, raw {blob} NOT NULL)""",
    ]
