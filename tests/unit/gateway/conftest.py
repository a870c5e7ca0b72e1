"""Workers that are fast stay so, however long the machine lets the test stand."""

import pytest

from services.api.gateway import ahead


@pytest.fixture(autouse=True)
def patient_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's pace is counted over less than the second and a half after which tests have it be slow."""
    monkeypatch.setattr(ahead, "PACE_SECONDS", 1.4)
