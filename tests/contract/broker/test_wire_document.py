"""docs/wire.md says what the code does: enough of it is checked here that they cannot drift apart unseen."""

import re
from dataclasses import fields
from pathlib import Path
from uuid import UUID

from services.dispatcher.queues import LONGEST_PULL_SECONDS
from shared.broker import subjects
from shared.broker.embedded import EmbeddedServer
from shared.broker.streams import STREAMS
from shared.domain.job.events import TaskReleased
from shared.domain.values import ERROR_KINDS, REASONS
from shared.domain.worker import WORKER_NAMESPACE

WIRE = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()


def test_the_example_of_a_token_is_right() -> None:
    assert subjects.id_token(UUID("01934b3e-8b5e-7a1c-8d3b-0d6f1f3a9c11")) in WIRE
    assert str(WORKER_NAMESPACE) in WIRE


def test_every_field_of_a_task_is_named() -> None:
    section = WIRE[WIRE.index("### Tasks") : WIRE.index("### Reports")]
    own = {field.name for field in fields(TaskReleased)} - {
        "originator_id",
        "originator_version",
        "timestamp",
    }
    assert own <= set(re.findall(r"`(\w+)`", section))


def test_every_reason_and_kind_of_error_is_named() -> None:
    section = WIRE[WIRE.index("### Reports") : WIRE.index("### control")]
    assert {*REASONS, *ERROR_KINDS} <= set(re.findall(r"`(\w+)`", section))


def test_every_stream_stands_there_with_its_subjects_and_settings() -> None:
    for name, settings in STREAMS.items():
        (row,) = [line for line in WIRE.splitlines() if line.startswith(f"| `{name}` |")]
        for subject in settings["subjects"]:
            assert f"`{subject}`" in row
        for setting, value in settings.items():
            if value is True:
                assert f"`{setting}`" in row


def test_the_rights_of_a_worker_are_those_of_the_configuration(tmp_path: Path) -> None:
    configuration = EmbeddedServer(tmp_path, worker_token="t")._configuration()
    permissions = configuration[configuration.index('user: "worker"') :]
    rights = [right for right in re.findall(r'"([^"\s]+)"', permissions) if right not in {"worker", "t"}]
    (row,) = [line for line in WIRE.splitlines() if line.startswith("| `worker` | the worker token |")]
    assert sorted(re.findall(r"`([^`]+)`", row)[1:]) == sorted(rights)
    lent = re.findall(r'(?:service|stream): "([^"]+)",? accounts: \[WORKERS\]', configuration)
    taken = re.findall(r'account: DAYBOOK, subject: "([^"]+)"', configuration)
    assert sorted([*lent, "_INBOX.>"]) == sorted([*taken, "_INBOX.>"]) == sorted(rights)


def test_how_long_a_pull_may_last_is_that_of_the_queues(tmp_path: Path) -> None:
    section = WIRE[WIRE.index("### Tasks") : WIRE.index("### Reports")]
    (threshold,) = re.findall(
        r'response_threshold: "(\d+)s"', EmbeddedServer(tmp_path, worker_token="t")._configuration()
    )
    assert f"at most {LONGEST_PULL_SECONDS} s" in section
    assert f"silent for {threshold} s" in section.replace("\n", " ")
