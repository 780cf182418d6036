"""What aiohttp's server may log: its failures, but not requests that are no HTTP.

Anybody who reaches the port can send these, each would be a traceback at level error, and the text quotes what was
sent: a header line that is too long may be a credential.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError


def server_logger() -> logging.Logger:
    """The logger for aiohttp's server."""
    logger = logging.getLogger("controlplane.rest")
    if not logger.filters:
        logger.addFilter(_ours)
    return logger


def _ours(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)
