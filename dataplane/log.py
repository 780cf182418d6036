"""What the process has to say about itself: one JSON line per event on stderr, over the standard library's logging.

The request log is another thing (access_log.py). An event's name is stable, for machines; its fields tell the rest.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LOGGER = logging.getLogger("flexgate.dataplane")


class JsonLines(logging.Formatter):
    """{timestamp, level, service, event, …fields}."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "service": "flexgate-dataplane",
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send everything, libraries too, through one handler; the level is one of LEVELS."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(LEVELS[level])


def info(event: str, **fields: object) -> None:
    """Something went as it should."""
    _LOGGER.info(event, extra={"fields": fields})


def warn(event: str, **fields: object) -> None:
    """Something an operator should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def failure(event: str, **fields: object) -> None:
    """A bug or a broken environment: with the traceback of the exception at hand."""
    _LOGGER.exception(event, extra={"fields": fields})
