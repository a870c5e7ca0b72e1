"""Log lines: to standard error, for people in dev, one JSON object a line in production."""

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def log_to_stderr(
    role: str, *, level: str, style: Literal["text", "json"], secrets: Sequence[str] = ()
) -> None:
    """Send all log records of this process to standard error; `secrets` are struck out of every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(role, secrets) if style == "json" else _TextLines(role, secrets))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "faststream"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


class _Lines(logging.Formatter):
    def __init__(self, role: str, secrets: Sequence[str]) -> None:
        super().__init__()
        self.role = role
        # The longest first: a secret may be part of another. One of three letters is none, and in every word.
        self.secrets = sorted((secret for secret in secrets if len(secret) > 3), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        for secret in self.secrets:
            line = line.replace(secret, "***")
        return line

    def line(self, record: logging.LogRecord) -> str:
        raise NotImplementedError

    def trouble(self, record: logging.LogRecord) -> str:
        """The traceback, or an empty text."""
        return self.formatException(record.exc_info) if record.exc_info else ""


class _TextLines(_Lines):
    def line(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={value}" for name, value in _extras(record).items())
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        text = f"{at} {record.levelname.lower():<7} {self.role:<10} {record.getMessage()}{extra}"
        trouble = self.trouble(record)
        return f"{text}\n{trouble}" if trouble else text


class _JsonLines(_Lines):
    def line(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "role": self.role,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        trouble = self.trouble(record)
        if trouble:
            entry["trouble"] = trouble
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
