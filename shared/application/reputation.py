"""How far a worker can be relied on: a number from 0.1 to 1, folded from the results in the journal.

The rules are those of Avtomatika: everybody begins with 1; a success adds 0.001, a permanent failure costs
0.05, a broken contract 0.2; each hour it becomes 0.7 of the share of good results of the last 30 days and 0.3
of itself. Time is that of the results, so that the same history always gives the same number.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
DAYS: Final = 30
KEPT: Final = 0.3
"""What an hour leaves of a reputation; the rest is the share of good results."""
LEAST: Final = 0.1
SUCCESS: Final = 0.001
COSTS: Final = {"transient": 0.0, "timeout": 0.0, "permanent": 0.05, "contract_violation": 0.2}
"""What a failure of a kind costs. Kinds that are missing say nothing of the worker."""
RESULTS: Final = frozenset({"TaskSucceeded", "TaskFailed"})


class Standing(msgspec.Struct, omit_defaults=True):
    """The reputation of one worker as of its last result.

    `hour` is that of the last result, since the epoch; `days` are (day since the epoch, good results, all).
    """

    reputation: float = 1.0
    hour: int = 0
    days: list[tuple[int, int, int]] = []

    def apply(self, topic: str, data: Mapping[str, Any], at_us: int) -> None:
        """Fold a result of the worker."""
        if topic == "TaskSucceeded":
            good, change = 1, SUCCESS
        else:
            kind = (data.get("error") or {}).get("kind")
            if kind not in COSTS:
                return
            good, change = 0, -COSTS[kind]
        self.reputation = round(min(1.0, max(LEAST, self.at(at_us) + change)), 6)
        self.hour = max(self.hour, at_us // HOUR_US)
        today = at_us // DAY_US
        days = {day: (day, some, of) for day, some, of in self.days if day > today - DAYS}
        _, some, of = days.get(today, (today, 0, 0))
        days[today] = (today, some + good, of + 1)
        self.days = sorted(days.values())

    def at(self, at_us: int) -> float:
        """The reputation at a time, microseconds since the epoch, by the hours since the last result."""
        hours = at_us // HOUR_US - self.hour
        since = at_us // DAY_US - DAYS
        results = sum(of for day, _, of in self.days if day > since)
        if hours <= 0 or not results:
            return self.reputation
        share = sum(good for day, good, _ in self.days if day > since) / results
        return round(min(1.0, max(LEAST, share + (self.reputation - share) * KEPT**hours)), 6)
