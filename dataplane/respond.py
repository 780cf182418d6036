"""Answers on their way to the client: what an upstream said, streamed; what the gateway says, rendered in one place.

Every answer carries the gateway's own lines: API version, the revision that served it, the correlation id, and limits.
One without a Date gets ours: an intermediary with a clock must give it one (RFC 9110 6.6.1).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from dataplane.errors import TITLES, GatewayError, ResponseTooLarge
from dataplane.headers import CRLF, edited_lines, framing_for
from dataplane.http1.chunks import framed
from dataplane.http1.date import DateLine
from dataplane.http1.response_head import Framing

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {title}".encode() for status, title in TITLES.items()}
_OK: Final = b"HTTP/1.1 200 OK"
_DATE: Final = DateLine()
_JOINED: Final = 16 * 1024
"""Up to this size, one joined write is cheaper than several buffers."""
UNCONFIGURED_LINES: Final = b"X-API-Version: 1.0.0\r\nX-Config-Version: 0\r\nX-Correlation-ID: "


def say_own(x: Exchange, lines: list[bytes]) -> None:
    """Add what every answer says."""
    lines.append((x.runtime.own_lines if x.runtime is not None else UNCONFIGURED_LINES) + x.correlation_id)
    if x.limit_lines:
        lines.append(x.limit_lines)
    if x.route is not None and x.route.deprecated:
        lines.append(x.route.deprecated)


def connection_line(x: Exchange) -> bytes:
    """Decides whether the connection stays open, and says it where HTTP's default would be otherwise."""
    if not x.connection.can_stay_open(x):
        x.close = True
        return b"Connection: close"
    return b"" if x.http11 else b"Connection: keep-alive"


# ---- an upstream's answer


def relay_head(x: Exchange, upstream: UpstreamConnection, max_response: int) -> Framing | None:
    """Send the head of the upstream's answer and as much of its body as is here. None: that was all of it.

    Raises ResponseTooLarge before anything is sent.
    """
    body, status = upstream.body, upstream.status
    if max_response and max(body.length or 0, body.received) > max_response:
        raise ResponseTooLarge
    framing_line, framing = framing_for(x, status, upstream.head, upstream.framing)
    if framing is Framing.UNTIL_CLOSE:
        x.close = True
    whole = body.complete and (framing is Framing.LENGTH or framing is Framing.NONE)
    size, chunks = body.waiting, body.take()
    x.status = status
    x.response_started = True
    lines = _head(x, upstream, framing_line)
    if framing is Framing.CHUNKED:
        chunks = framed(chunks)
    lines.append(b"")
    if size < _JOINED:
        lines.append(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        x.connection.send(CRLF.join(lines))
    else:
        lines.append(b"")
        x.connection.writelines([CRLF.join(lines), *chunks])
    x.response_bytes = body.received
    return None if whole else framing


def _head(x: Exchange, upstream: UpstreamConnection, framing_line: bytes) -> list[bytes]:
    """The lines of the head, without the empty one at its end."""
    status, reason = upstream.status, upstream.reason
    lines = upstream.head.lines
    edits = x.route.response_edits if x.route is not None else None
    if edits is not None:
        lines = edited_lines(lines, edits)
    first = _OK if status == 200 and reason == b"OK" else b"HTTP/1.1 %d %b" % (status, reason)
    head = [first, *lines]
    say_own(x, head)
    if not upstream.head.dated and status >= 200 and (edits is None or b"date" not in edits.removed):
        head.append(_DATE.at(time.time()))
    if framing_line:
        head.append(framing_line)
    if status == 101:
        head.append(b"Connection: upgrade\r\nUpgrade: " + (upstream.head.upgrade or x.upgrade or b""))
    elif persistence := connection_line(x):
        head.append(persistence)
    return head


# ---- the gateway's own answers


def send(x: Exchange, status: int, content_type: bytes, body: bytes, extra: tuple[bytes, ...] = ()) -> None:
    """Answer with a body at hand. `extra`: whole header lines."""
    x.status = status
    x.response_started = True
    x.response_bytes = len(body)
    lines = [
        _STATUS_LINES.get(status) or b"HTTP/1.1 %d %b" % (status, TITLES.get(status, "").encode()),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        _DATE.at(time.time()),
        *extra,
    ]
    say_own(x, lines)
    if persistence := connection_line(x):
        lines.append(persistence)
    lines += (b"", b"" if x.method == "HEAD" else body)
    x.connection.send(CRLF.join(lines))


def refuse(x: Exchange, error: GatewayError) -> None:
    """Answer an error, or cut the answer short when it has begun: the client must see that it is not whole."""
    x.error = error
    if error.close:
        x.close = True
    if x.response_started or error.status == 499:
        x.status = x.status if x.response_started and error.status != 499 else error.status
        x.close = True
        x.connection.abort()
        return
    extra = error.headers
    content: dict[str, Any] = {
        "error": TITLES.get(error.status, "Error"),
        "message": error.message,
        "correlationId": x.correlation_id.decode(),
    }
    if error.retry_after is not None:
        content["retryAfter"] = error.retry_after
        extra = (*extra, b"Retry-After: %d" % error.retry_after)
    send(x, error.status, b"application/json", orjson.dumps(content), extra)
