"""Commands to a running job. The dispatcher decides them, because one writer per job is what keeps jobs
orderly.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import msgspec

CommandName = Literal["cancel", "pause", "resume", "signal", "approve", "expire", "wake"]
RefusalCode = Literal["not_found", "illegal", "invalid", "unavailable"]

ANSWER_SECONDS: Final = 5.0
"""How long a command may take to be decided and stored before its sender stops waiting."""


class CommandAnswer(msgspec.Struct):
    """What the dispatcher decided. `changed` is False when it had happened already; `sequence` is where it
    stands.

    `code` and `message` are there when `ok` is not.
    """

    ok: bool
    sequence: int = 0
    status: str = ""
    changed: bool = False
    code: RefusalCode = "unavailable"
    message: str = ""


class Dispatcher(Protocol):
    """The dispatcher as those see it who only send commands."""

    async def ask(self, job: UUID, command: Mapping[str, Any]) -> CommandAnswer:
        """Send one command and wait for the decision. Raises DispatcherSilent."""
        ...


class CommandError(Exception):
    """A command did not change the job.

    CommandError
    ├── CommandRefused     the job's state, or the command itself, does not allow it
    └── DispatcherSilent   no answer: it may happen or not; commands are safe to send again
    """


class CommandRefused(CommandError):
    """The dispatcher said no; `code` says why in one word, the message for people."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class DispatcherSilent(CommandError):
    """Nobody answered in time. The command may happen or not; it is safe to send it again."""


async def command(
    dispatcher: Dispatcher, job: UUID, name: CommandName, by: str, fields: Mapping[str, Any]
) -> CommandAnswer:
    """Have the dispatcher decide `name` about `job`. Raises CommandRefused or DispatcherSilent."""
    answer = await dispatcher.ask(job, {"command": name, "by": by, **fields})
    if not answer.ok:
        raise CommandRefused(answer.code, answer.message)
    return answer
