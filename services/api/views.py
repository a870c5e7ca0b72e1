"""How jobs and their events look from outside. Everything that shows a job uses these."""

from collections.abc import Iterable, Iterator
from typing import Any

from shared.application.ports import StoredCommit
from shared.application.summary import JobSummary, iso
from shared.domain.metadata import of_client, reserved_in


def public(summary: JobSummary) -> dict[str, Any]:
    """A job as every route shows it, without the server's own metadata."""
    view = summary.to_public()
    metadata = view.get("metadata")
    if reserved_in(metadata):
        view["metadata"] = of_client(metadata)
    return view


def listed(summary: JobSummary) -> dict[str, Any]:
    """A job in a list: without its input and output, which lists do not read."""
    view = public(summary)
    del view["input"], view["output"]
    return view


def events_of(commits: Iterable[StoredCommit]) -> Iterator[dict[str, Any]]:
    """The events of commits one by one: gapless `version`, `type`, `at`, `by`, `data`, the commit's
    `sequence`.
    """
    for commit in commits:
        at = iso(commit.at)
        for version, (topic, data) in enumerate(commit.events, commit.n):
            yield {
                "version": version,
                "type": topic,
                "at": at,
                "by": commit.by,
                "data": data,
                "sequence": commit.sequence,
            }
