"""The request log: one JSON line for each sampled success and each error, written by a thread of its own.

The request path makes the record only for lines that will be written, and hands over encoded bytes; a slow disk or a
full pipe costs lines (counted), never requests. What is never logged: header values other than User-Agent, bodies,
credentials, and the values of query parameters that `logging.redact` names.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final
from urllib.parse import unquote_plus

import orjson

from dataplane.exchange import Exchange
from dataplane.http1.fields import value_of
from dataplane.overload.shedding import waited_ms
from dataplane.runtime import LogPolicy

SERVICE: Final = "flexgate-dataplane"
REDACTED: Final = "[redacted]"
_MOST_GATHERED: Final = 10_000
_MOST_BATCHES: Final = 2
_INFO: Final = 20
_WARN: Final = 30
_ERROR: Final = 40
_LEVELS: Final = {"debug": 10, "info": _INFO, "warn": _WARN, "error": _ERROR}


class LogWriter:
    """Writes lines in order, in the background; `lost` counts those there was no room for.

    Lines are gathered and handed over in batches (`flush`, called by the sweep of deadlines): waking a thread for each
    line would cost the request path more than making the line does.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._gathered: list[bytes] = []
        self._batches: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self.lost = 0

    def start(self) -> None:
        self._writer.start()

    def put(self, line: bytes) -> None:
        """Take one whole line."""
        if len(self._gathered) < _MOST_GATHERED:
            self._gathered.append(line)
        else:
            self.lost += 1

    def flush(self) -> None:
        """Hand over what was gathered, unless the writer is behind: then it waits, and in the end overflows."""
        if self._gathered and self._batches.qsize() < _MOST_BATCHES:
            self._batches.put(self._gathered)
            self._gathered = []

    def close(self) -> None:
        """Write what waits, then end."""
        if self._gathered:
            self._batches.put(self._gathered)
            self._gathered = []
        self._batches.put(None)
        if self._writer.is_alive():
            self._writer.join(timeout=5)

    def _write(self) -> None:
        while (lines := self._batches.get()) is not None:
            try:
                self._out.write(b"".join(lines))
                self._out.flush()
            except (OSError, ValueError):  # the reader of our output is gone, or it was closed
                self.lost += len(lines)


def wanted(policy: LogPolicy, status: int, ms: float, random: Callable[[], float]) -> bool:
    """Whether this request gets a line: errors (4xx and 5xx) and slow ones by their rate, successes by theirs."""
    failed = status >= 400
    if _LEVELS[policy.level] > (_ERROR if status >= 500 else _WARN if failed else _INFO):
        return False
    if failed or (policy.slow_ms and ms >= policy.slow_ms):
        return policy.error_rate >= 1.0 or random() < policy.error_rate
    return policy.success_rate >= 1.0 or random() < policy.success_rate


def line_of(x: Exchange, policy: LogPolicy, ms: float, revision: int) -> bytes:
    """The record of a finished exchange, as CONTRACT section 6 has it."""
    status = x.status
    agent = value_of(x.headers, b"user-agent")
    record: dict[str, Any] = {
        "timestamp": _STAMPS.of(time.time()),
        "level": "error" if status >= 500 else "warn" if status >= 400 else "info",
        "correlationId": x.correlation_id.decode(),
        "service": SERVICE,
        "event": "request.completed",
        "http": {
            "method": x.method,
            "path": _path(x, policy.redact),
            "statusCode": status,
            "clientIp": x.client_ip or x.connection.ip,
            "userAgent": agent.decode("latin-1") if agent is not None else None,
        },
        "duration": _rounded(ms),
        "metadata": {
            "route": x.route.label if x.route else None,
            "consumer": x.consumer,
            "configVersion": revision,
        },
    }
    queued = waited_ms(x.shedding_waiter, x.bulkhead_waiter)
    if queued:
        record["queued"] = _rounded(queued)
    if x.upstream_host:
        record["upstream"] = {
            "host": x.upstream_host,
            "duration": _rounded(x.upstream_ms),
            "statusCode": x.upstream_status or None,
            "attempts": x.attempts,
        }
        if x.fallback:
            record["upstream"]["fallback"] = x.fallback
    if x.error is not None:
        record["error"] = {"kind": x.error.kind, "source": x.error.source.value, "message": str(x.error)}
    if not policy.json:
        return _text(record).encode() + b"\n"
    return orjson.dumps(record) + b"\n"


class _Stamps:
    """Times as ISO 8601 with milliseconds; formatting the second is most of the work, and done once for each."""

    def __init__(self) -> None:
        self._second = -1
        self._written = ""

    def of(self, now: float) -> str:
        """Epoch seconds as `2026-01-31T12:00:00.000Z`."""
        second = int(now)
        if second != self._second:
            self._written = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            self._second = second
        return f"{self._written}{int((now - second) * 1000.0):03d}Z"


_STAMPS: Final = _Stamps()


def _rounded(ms: float) -> float:
    """To the microsecond; `round` is exact in every last digit, and ten times slower for it."""
    return int(ms * 1000.0 + 0.5) / 1000.0


def _path(x: Exchange, redact: frozenset[str]) -> str:
    path = x.path or x.raw_target[:2048].decode("latin-1").partition("?")[0]
    if x.route is not None and x.route.redact:  # where the route's own clients show their keys
        redact |= {x.route.redact}
    return f"{path}?{redacted(x.query, redact)}" if x.query else path


def redacted(query: str, names: Iterable[str]) -> str:
    """The query with the values of the named parameters (any case) replaced."""
    hidden = {name.lower() for name in names}
    if not hidden:
        return query
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        hide = equals and unquote_plus(name).lower() in hidden
        parts.append(f"{name}={REDACTED}" if hide else part)
    return "&".join(parts)


def _text(record: dict[str, Any]) -> str:
    http, upstream = record["http"], record.get("upstream", {})
    words = [record["timestamp"], record["level"], http["clientIp"], http["method"], http["path"]]
    words += [str(http["statusCode"]), f"{record['duration']}ms", f"id={record['correlationId']}"]
    words += [f"route={record['metadata']['route'] or '-'}", f"upstream={upstream.get('host', '-')}"]
    if "error" in record:
        words.append(f"error={record['error']['kind']}: {record['error']['message']}")
    return " ".join(words)
