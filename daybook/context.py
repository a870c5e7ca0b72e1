"""What blueprints import for their annotations: `from daybook.context import ActionFactory, JobContext`."""

from daybook.blueprint.actions import Actions as ActionFactory
from daybook.blueprint.context import ClientConfig, JobContext

__all__ = ["ActionFactory", "ClientConfig", "JobContext"]
