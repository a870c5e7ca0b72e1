"""Daybook, for those who use it: submit jobs, run tasks.

from daybook import Client, Worker
"""

from daybook.blueprint import Blueprint
from daybook.client import AsyncClient, Client
from daybook.worker import Result, TaskContext, Worker

__all__ = ["AsyncClient", "Blueprint", "Client", "Result", "TaskContext", "Worker"]
