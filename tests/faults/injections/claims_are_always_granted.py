"""The dispatcher grants every claim, whatever the job says: the last gate before a task runs stands open."""

from datetime import timedelta

from tests.faults.injections import replace

ROLE = "dispatcher"


def apply() -> None:
    from services.dispatcher import reports
    from services.dispatcher.slots import Outcome

    verdict = reports.verdict

    def granted(report: reports.Report, lease: timedelta, outcome: Outcome) -> bytes | None:
        if isinstance(report, reports.Claim):
            return b'{"verdict":"granted","lease_seconds":60}'
        return verdict(report, lease, outcome)

    replace(reports, "verdict", granted)
