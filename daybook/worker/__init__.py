"""Workers: functions that run tasks. `from daybook import Worker`."""

from daybook.worker.context import Result, TaskContext
from daybook.worker.worker import Worker

__all__ = ["Result", "TaskContext", "Worker"]
