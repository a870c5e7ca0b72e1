"""Clients of the HTTP API. `from daybook import Client, AsyncClient`."""

from daybook.client.asynchronous import AsyncClient
from daybook.client.blocking import Client
from daybook.client.models import Changed, Event, Job, JobOptions, Submitted, Workflow
from daybook.client.models import Worker as WorkerInfo

__all__ = [
    "AsyncClient",
    "Changed",
    "Client",
    "Event",
    "Job",
    "JobOptions",
    "Submitted",
    "WorkerInfo",
    "Workflow",
]
