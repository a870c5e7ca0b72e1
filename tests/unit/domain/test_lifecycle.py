"""The page about a job's life is what the domain prints, and it leaves nothing out."""

from pathlib import Path

from shared.domain.job.events import TERMINAL, JobEvent
from shared.domain.lifecycle import MEANINGS, SITUATIONS, lifecycle, transitions
from shared.domain.topics import EVENTS
from shared.domain.values import FINAL, Status

PAGE = Path(__file__).parents[3] / "docs" / "job_lifecycle.md"


def test_the_page_is_what_the_domain_prints() -> None:
    wanted = "run: python -m shared.domain.lifecycle > docs/job_lifecycle.md"
    assert PAGE.read_text(encoding="utf-8") == lifecycle(), wanted


def test_every_status_is_explained_and_met() -> None:
    assert list(MEANINGS) == list(Status)
    assert {row.before for row in transitions()} == set(Status)


def test_every_event_of_a_job_is_explained() -> None:
    printed = lifecycle()
    for topic, event in EVENTS.items():
        assert (f"| `{topic}` |" in printed) == issubclass(event, JobEvent)


def test_no_command_leads_out_of_a_final_status() -> None:
    for row in transitions():
        if row.before in FINAL:
            assert row.after == row.before
            assert set(row.events) <= {"ReportIgnored"}


def test_every_end_is_reached_by_its_own_event() -> None:
    ends = {event.__name__ for event in TERMINAL}
    reached = {event for row in transitions() for event in row.events if event in ends}
    assert reached == ends
    assert len(SITUATIONS) > len(Status)
