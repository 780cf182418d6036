"""What a process has to say about itself: one JSON line per event on stderr, over the standard library's logging.

The request log is another thing (dataplane/access_log.py). An event's name is stable, for machines; its fields tell the
rest.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LOGGER = logging.getLogger("flexgate")


class JsonLines(logging.Formatter):
    """{timestamp, level, service, event, …fields}."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(service: str, level: str, stream: TextIO | None = None) -> None:
    """Send everything, libraries too, through one handler, in the name of a service; the level is one of LEVELS."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(service))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """From here on tell what is at least this serious; one of LEVELS."""
    _LOGGER.setLevel(LEVELS[level])


def info(event: str, **fields: object) -> None:
    """Something went as it should."""
    _LOGGER.info(event, extra={"fields": fields})


def warn(event: str, **fields: object) -> None:
    """Something an operator should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def error(event: str, **fields: object) -> None:
    """Something does not work."""
    _LOGGER.error(event, extra={"fields": fields})


def failure(event: str, **fields: object) -> None:
    """A bug or a broken environment: with the traceback of the exception at hand."""
    _LOGGER.exception(event, extra={"fields": fields})
