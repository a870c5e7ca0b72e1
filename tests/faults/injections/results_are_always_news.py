"""The dispatcher decides each report as if it were the first: no duplicate, late or stale one is known."""

from typing import Any

from tests.faults.injections import replace

ROLE = "dispatcher"


def apply() -> None:
    from shared.domain.job import job

    def no_objection(*args: Any) -> None:
        return None

    def never(*args: Any) -> bool:
        return False

    replace(job, "objection", no_objection)
    replace(job, "repeats", never)
