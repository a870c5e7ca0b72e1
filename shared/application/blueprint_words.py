"""The names that a job of a blueprint carries in its events; who submits, runs or shows one knows them."""

from typing import Final
from uuid import UUID

CLIENT_TAG: Final = "client"
"""The tag by which a client's jobs are listed."""
TRIGGER_TAG: Final = ("daybook.trigger", "schedule")
"""Name and value of the tag by which jobs of schedules are counted."""
UPDATED: Final = "@updated"
"""The key of the context that names what handlers updated: that is initial data, and no history."""
END: Final = ":end"
"""What stands behind an end state's name in the name of the node in which the job ends."""


def task_id(job: UUID, task: int, attempt: int) -> str:
    """How one attempt of a task is called: `task-<job in hex>-<task>-<attempt>`."""
    return f"task-{job.hex}-{task}-{attempt}"
