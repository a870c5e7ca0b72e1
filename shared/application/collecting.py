"""What an aggregate has decided since it was loaded, with the type that the journal takes."""

from collections.abc import Sequence
from typing import cast

from eventsourcing.domain import Aggregate, AggregateEvent


def collected(aggregate: Aggregate) -> Sequence[AggregateEvent]:
    """The new events of `aggregate`, taken from it: they are handed out once.

    The library declares them by what they can do; ours are all AggregateEvent.
    """
    return cast(Sequence[AggregateEvent], aggregate.collect_events())
