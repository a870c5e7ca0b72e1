"""The dispatcher decides each report as if it were the first: no duplicate, late or stale one is known."""

from typing import Any

from tests.faults.injections import replace

ROLE = "dispatcher"


def apply() -> None:
    from shared.domain.job import job
    from shared.domain.job.state import JobState, Task, TaskStatus

    def no_objection(*args: Any) -> None:
        return None

    def never(*args: Any) -> bool:
        return False

    def close(self: JobState, task_id: int, status: TaskStatus) -> Task:
        task = self.live_tasks.pop(task_id, self.tasks[task_id])
        task.status = status
        return task

    replace(job, "objection", no_objection)
    replace(job, "repeats", never)
    replace(JobState, "close", close)
