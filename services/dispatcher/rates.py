"""What the rate keys used up before this process began, counted again from the journal."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from services.dispatcher.flow import Flow
from services.dispatcher.followup import limits_of
from shared.application.clock import to_us
from shared.application.ports import JournalError
from shared.journal.recent import Recent

log = logging.getLogger("daybook.dispatcher.rates")

Releases = Callable[[datetime, timedelta], Awaitable[Recent]]
"""The releases with a rate in the span before a moment."""

LEAST = timedelta(hours=1)
"""So far back is looked at least: a key that nothing waits for now may be asked for next."""
MOST_RELEASES = 200_000
"""Some two seconds of reading; beyond that the past is cut off, and what is not known counts as used up."""
RATED = b'"per_seconds"'
"""What the bytes of a release with a rate contain."""


async def count_rates(releases: Releases, flow: Flow, utc: datetime, now: float) -> None:
    """Fill the windows of `flow`. `utc` and `now` (monotonic seconds) are the same moment.

    What cannot be read counts as used up at this moment, so a limit is never exceeded for want of knowledge.
    """
    span = max(LEAST, timedelta(seconds=flow.longest_window()))
    try:
        recent = await releases(utc, span)
    except JournalError as problem:
        log.warning("the first window of each rate key counts as full: %s", problem)
        flow.count_from(now, ())
        return
    here = to_us(utc)
    counted = [
        (data.get("tenant", ""), limit, now - max(0, here - commit.at) / 1e6)
        for commit in recent.commits
        for topic, data in commit.events
        if topic == "TaskReleased"
        for limit in limits_of(data.get("limits") or ())
        if limit.per_seconds is not None
    ]
    known = None if recent.since is None else now - (utc - recent.since).total_seconds()
    flow.count_from(known, counted)
    if counted:
        log.info("%d releases of the last %s count for the rate keys", len(counted), span)
