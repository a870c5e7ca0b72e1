"""What errors of the domain, the application and the journal mean over HTTP."""

import logging
import re
from typing import Final

from services.api.bodies import ClientGone
from services.api.problems import FieldError, Problem, retry_after
from shared.application.commands import CommandError, CommandRefused, DispatcherSilent
from shared.application.definitions import UnknownWorkflow
from shared.application.ports import (
    BrokenChain,
    JournalError,
    JournalUnavailable,
    UnknownOutcome,
    VersionConflict,
)
from shared.application.submit import KeyReused
from shared.domain.errors import DomainError, IllegalTransition, InvalidGraph
from shared.readmodels.errors import InvalidCursor, ReadModelError

log = logging.getLogger(__name__)

EXPECTED: Final[tuple[type[Exception], ...]] = (
    Problem,
    ClientGone,
    CommandError,
    JournalError,
    DomainError,
    ReadModelError,
    UnknownWorkflow,
    KeyReused,
)
"""The roots of everything that may go wrong without being a fault of the server."""

_REFUSALS = {"not_found": "not_found", "illegal": "illegal_transition", "invalid": "invalid"}
_NODE: Final = re.compile(r"node (['\"])(.+?)\1:")


def problem_of(error: Exception) -> Problem:
    """The problem that tells a client about `error`. An error nobody expected is logged and told without
    its text.
    """
    match error:
        case Problem():
            return error
        case ClientGone():
            return Problem("malformed_request", "The body broke off.")
        case CommandRefused(code="unavailable"):
            return retry_after("dispatcher_unavailable", error.message)
        case CommandRefused():
            return Problem(_REFUSALS[error.code], error.message)
        case DispatcherSilent():
            return retry_after(
                "dispatcher_unavailable", "The command may be decided later; it is safe to repeat."
            )
        case UnknownWorkflow():
            return Problem("unknown_workflow", str(error))
        case KeyReused():
            return Problem("idempotency_conflict", str(error))
        case InvalidCursor():
            return Problem("invalid", str(error))
        case ReadModelError():
            log.error("the read model failed", exc_info=error)
            return retry_after("read_model_unavailable", "")
    return _of_journal(error) or _of_domain(error) or _unexpected(error)


def _of_journal(error: Exception) -> Problem | None:
    match error:
        case UnknownOutcome():
            detail = "Send the same request again with the same Idempotency-Key to learn it."
            return retry_after("outcome_unknown", detail)
        case VersionConflict():
            return retry_after("conflict", "Send it again.")
        case JournalUnavailable():
            return retry_after("journal_unavailable", "Nothing was stored.")
        case BrokenChain():
            log.critical("the history is broken", exc_info=error)
            return Problem("history_broken", str(error))
        case JournalError():
            log.error("the journal failed", exc_info=error)
            return retry_after("journal_unavailable", "")
    return None


def _of_domain(error: Exception) -> Problem | None:
    match error:
        case InvalidGraph():
            return Problem("invalid_workflow", errors=[_graph_error(problem) for problem in error.problems])
        case IllegalTransition():
            return Problem("illegal_transition", str(error))
        case DomainError():
            return Problem("invalid", str(error))
    return None


def _graph_error(problem: str) -> FieldError:
    found = _NODE.search(problem)
    return {"message": problem} if found is None else {"message": problem, "node": found[2]}


def _unexpected(error: Exception) -> Problem:
    log.error("a request failed", exc_info=error)
    return Problem("internal")
