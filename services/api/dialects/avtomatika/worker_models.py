"""What workers of this dialect send. Unknown members are kept out, absent ones and null are the default."""

from typing import Annotated, Any

import msgspec

Object = dict[str, Any]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Capabilities(msgspec.Struct):
    """Where it runs, and what its skills cost."""

    hostname: str | None = None
    cost_per_skill: dict[str, float] | None = None
    extra: Object | None = None
    s3_config_hash: object = None


class Resources(msgspec.Struct):
    devices: list[Object] | None = None
    properties: Object | None = None


class Skill(msgspec.Struct):
    """A skill that a worker has. Its name alone may stand for it."""

    name: Name
    type: str | None = None
    version: str | None = None
    properties: Object | None = None
    input_schema: Object | None = None
    output_schema: Object | None = None
    events_schema: dict[str, Object] | None = None
    output_statuses: list[str] | None = None
    schema_dialect: str | None = None


class Registration(msgspec.Struct):
    """A worker introduces itself."""

    worker_id: Name
    worker_type: str | None = None
    supported_skills: list[Skill | Name] | None = None
    available_skills: list[str] | None = None
    hot_skills: list[str] | None = None
    resources: Resources | None = None
    installed_software: dict[str, Any] | None = None
    installed_artifacts: list[Object | str] | None = None
    capabilities: Capabilities | None = None


class Heartbeat(msgspec.Struct):
    """How a worker is, and what it works on."""

    status: str | None = None
    usage: Object | None = None
    current_tasks: list[str] | None = None
    supported_skills: list[Skill | Name] | None = None
    available_skills: list[str] | None = None
    hot_skills: list[str] | None = None
    timestamp: int | float | None = None
    skills_hash: str | None = None


class Result(msgspec.Struct):
    """The end of a task. `data` and `error` are objects by the documents; anything is taken."""

    job_id: str
    task_id: str
    worker_id: str | None = None
    status: str | None = None
    data: Any = None
    error: Any = None
    costs: Any = None


class Event(msgspec.Struct):
    """Something that a worker tells of; of a task when it names one."""

    event_type: Name
    event_id: str | None = None
    worker_id: str | None = None
    payload: Object | None = None
    origin_task_id: str | None = None
    target_task_id: str | None = None
    target_job_id: str | None = None


class Refresh(msgspec.Struct):
    refresh_token: str | None = None


registration_of = msgspec.json.Decoder(Registration).decode
heartbeat_of = msgspec.json.Decoder(Heartbeat).decode
result_of = msgspec.json.Decoder(Result).decode
event_of = msgspec.json.Decoder(Event).decode
refresh_of = msgspec.json.Decoder(Refresh).decode
