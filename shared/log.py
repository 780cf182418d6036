"""What a process has to say about itself: one JSON line per event on stderr, over the standard library's logging.

The request log is another thing (dataplane/access_log.py). An event's name is stable, for machines; its fields tell the
rest. Lines are written by a thread of their own: whoever reads them may stop reading, and then lines are lost, which is
counted; what this process does for others goes on.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import suppress

import orjson

from shared.timestamp import timestamp

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_LOGGER = logging.getLogger("flexgate")
_MOST_WAITING = 10_000  # lines; with what a line has, a few MB
_LAST_SECONDS = 1.0
"""What a process that ends spends at most on the lines that still wait."""


class JsonLines(logging.Formatter):
    """{timestamp, level, service, event, …fields}."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": timestamp(record.created),
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


class Background(logging.Handler):
    """Writes to a file descriptor from a thread; `lost` counts the lines there was no room for.

    To the descriptor itself: a thread that is stuck in `sys.stderr` holds a lock that the interpreter needs to end.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost = 0
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="process-log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line; never waits."""
        if self._lines.qsize() < _MOST_WAITING:
            self._lines.put(self.format(record).encode() + b"\n")
        else:
            self.lost += 1

    def close(self) -> None:
        """Write what waits, as far as it can be written soon."""
        self._lines.put(None)
        self._writer.join(_LAST_SECONDS)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError):  # nobody reads any more
                while line:
                    line = line[os.write(self._descriptor, line) :]


def lines_lost() -> int:
    """How many lines of this process's log there was no room for."""
    return sum(handler.lost for handler in logging.getLogger().handlers if isinstance(handler, Background))


def configure(service: str, level: str) -> None:
    """Send everything, libraries too, through one handler, in the name of a service; the level is one of LEVELS."""
    handler = Background(sys.stderr.fileno())
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
