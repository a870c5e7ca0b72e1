"""What the API and the scheduler ask of a job (`command.<job>`), and the answers. Wire: docs/wire.md."""

from collections.abc import Callable
from typing import Any

import msgspec

from services.dispatcher.slots import Command, Done, Missing, Outcome, Refused
from shared.domain.job import Facts, Job


class Cancel(msgspec.Struct, tag_field="command", tag="cancel"):
    """End the job now, whatever it is doing."""

    by: str
    reason: str = ""


class Signal(msgspec.Struct, tag_field="command", tag="signal"):
    """Something the job may be waiting for has happened."""

    by: str
    name: str
    payload: Any = None


class Approve(msgspec.Struct, tag_field="command", tag="approve"):
    """Somebody decided what the job is waiting for a decision on."""

    by: str
    decision: str
    name: str | None = None


class Pause(msgspec.Struct, tag_field="command", tag="pause"):
    """Release nothing more."""

    by: str


class Resume(msgspec.Struct, tag_field="command", tag="resume"):
    """Go on."""

    by: str


class Expire(msgspec.Struct, tag_field="command", tag="expire"):
    """Something of the job is due: look at the clock."""

    by: str = "system:scheduler"


class Wake(msgspec.Struct, tag_field="command", tag="wake"):
    """A wake-up that the job asked for has come."""

    name: str
    by: str = "system:timer"


Order = Cancel | Signal | Approve | Pause | Resume | Expire | Wake
decode_order = msgspec.json.Decoder(Order).decode


def act(order: Order, job: Job, facts: Facts) -> None:
    """Let the job decide on the order. Raises DomainError when it cannot be."""
    if isinstance(order, Cancel):
        job.cancel(facts, order.reason, order.by)
    elif isinstance(order, Signal):
        job.signal(order.name, order.payload, facts, order.by)
    elif isinstance(order, Approve):
        job.approve(order.decision, facts, order.by, name=order.name)
    elif isinstance(order, Pause):
        job.pause(facts, order.by)
    elif isinstance(order, Resume):
        job.resume(facts, order.by)
    elif isinstance(order, Expire):
        job.expire(facts)
    else:
        job.wake(order.name, facts)


def reply(outcome: Outcome) -> bytes:
    """The answer on the wire."""
    if isinstance(outcome, Done):
        return msgspec.json.encode(
            {
                "ok": True,
                "sequence": outcome.sequence,
                "status": outcome.job.status.value,
                "changed": outcome.changed,
            }
        )
    if isinstance(outcome, Missing):
        return error("not_found", "there is no such job")
    if isinstance(outcome, Refused):
        return error(outcome.problem.code, str(outcome.problem))
    return error("unavailable", "the journal cannot be reached; try again")


def error(code: str, message: str) -> bytes:
    """An answer that says no."""
    return msgspec.json.encode({"ok": False, "code": code, "message": message})


def command(order: Order, answer: Callable[[bytes], None]) -> Command:
    """The command that carries out `order` and gives the reply to `answer`."""

    def decide(job: Job, facts: Facts) -> None:
        act(order, job, facts)

    return Command(decide, lambda outcome: answer(reply(outcome)), by=order.by)
