"""The id of a task as workers see it, and what it stands for."""

import re
from typing import Final
from uuid import UUID

from services.api.gateway.tasks import Key
from shared.application.blueprint_words import task_id


def task_id_of(key: Key) -> str:
    return task_id(key.job, key.task, key.attempt)


def key_of(text: object) -> Key | None:
    """What a task's id stands for; None when it is none of ours."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else Key(UUID(hex=found[1]), int(found[2]), int(found[3]))


_FORM: Final = re.compile(r"task-([0-9a-f]{32})-([1-9][0-9]{0,8})-([1-9][0-9]{0,8})")
