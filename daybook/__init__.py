"""Daybook, for those who use it: submit jobs, run tasks.

from daybook import Client, Worker
"""

from daybook.client import AsyncClient, Client
from daybook.worker import Result, TaskContext, Worker

__all__ = ["AsyncClient", "Client", "Result", "TaskContext", "Worker"]
