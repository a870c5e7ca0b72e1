"""Whether a worker's report counts: the attempt number is the fencing token."""

from shared.domain.job.state import JobState
from shared.domain.values import Json, Status

MOST_IGNORED_RECORDED = 50


def objection(job: JobState, task_id: int, attempt: int, worker: str) -> str | None:
    """Why a report about this attempt is ignored, a word of `REASONS`; None when it counts."""
    task = job.tasks.get(task_id)
    if task is None:
        return "stale"
    if attempt in task.late:
        return "late"
    if job.ended is Status.CANCELLED:
        return "cancelled"
    if attempt != task.attempt:
        return "stale"
    match task.status:
        case "cancelled":  # not by hand: its time ran out with the job's, or the job went on without it
            return "late" if job.ended is Status.TIMED_OUT else "stale"
        case "succeeded" | "failed":
            return "finished"
        case "queued" | "retry_scheduled":
            return "stale"  # nobody was given this attempt yet
    if task.worker is not None and task.worker != worker:
        return "foreign"
    return None


def repeats(job: JobState, task_id: int, result: tuple[Json, ...]) -> bool:
    """Whether the report says again what was accepted before."""
    task = job.tasks.get(task_id)
    return task is not None and task.result == result


def is_worth_recording(job: JobState, ignored: tuple[int, int, str, str, str]) -> bool:
    """Each ignored report is recorded once, and a bounded number of them for a job."""
    return ignored not in job.ignored and len(job.ignored) < MOST_IGNORED_RECORDED
