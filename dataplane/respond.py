"""Answers on their way to the client: what an upstream said, streamed; what the gateway says, rendered in one place.

Every answer carries the gateway's own lines: API version, the revision that served it, the correlation id, and limits.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from dataplane.errors import TITLES, GatewayError, ResponseTooLarge
from dataplane.headers import CRLF, framing_line, response_lines
from dataplane.http1.response_head import Framing
from dataplane.runtime import Runtime

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.http1.upstream import UpstreamConnection

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}
UNCONFIGURED_LINES = b"X-API-Version: 1.0.0\r\nX-Config-Version: 0\r\nX-Correlation-ID: "


def own_lines(x: Exchange) -> bytes:
    """What every answer says, the last line open for what follows."""
    lines = (x.runtime.own_lines if x.runtime is not None else UNCONFIGURED_LINES) + x.correlation_id
    if x.limit_lines:
        lines += CRLF + x.limit_lines
    if x.route is not None and x.route.deprecated:
        lines += CRLF + x.route.deprecated
    return lines


def connection_line(x: Exchange) -> bytes:
    """Decides whether the connection stays open, and says it where HTTP's default would be otherwise."""
    if not x.connection.can_stay_open(x):
        x.close = True
        return b"Connection: close"
    return b"" if x.http11 else b"Connection: keep-alive"


# ---- an upstream's answer


async def relay(x: Exchange, upstream: UpstreamConnection, runtime: Runtime) -> None:
    """Send the upstream's answer on as it comes; raises what cut it short."""
    framing_text, framing = framing_line(x, upstream)
    body = upstream.body
    limit = runtime.max_response
    if limit and max(body.length or 0, body.received) > limit:
        raise ResponseTooLarge
    if framing is Framing.UNTIL_CLOSE:
        x.close = True
    chunks = body.take()
    complete = body.complete
    head = _head(x, upstream, framing_text)
    x.status = upstream.status
    x.response_started = True
    connection = x.connection
    if framing is Framing.NONE:
        connection.write(head)
        return
    if complete and framing is Framing.LENGTH:
        x.response_bytes = body.received
        connection.writelines([head, *chunks])
        return
    connection.writelines([head, *_framed(chunks, framing)])
    while not complete:
        if limit and body.received > limit:
            raise ResponseTooLarge
        await connection.drain()
        chunks = await body.read()
        complete = body.complete and not chunks
        if chunks:
            connection.writelines(_framed(chunks, framing))
    x.response_bytes = body.received
    if framing is Framing.CHUNKED:
        connection.write(CRLF.join((b"0", *body.trailers, b"", b"")))


def _framed(chunks: list[bytes], framing: Framing) -> list[bytes]:
    if framing is not Framing.CHUNKED or not chunks:
        return chunks
    return [b"%x\r\n" % sum(map(len, chunks)), *chunks, CRLF]


def _head(x: Exchange, upstream: UpstreamConnection, framing_text: bytes) -> bytes:
    lines = [
        b"HTTP/1.1 %d %b" % (upstream.status, upstream.reason),
        *response_lines(upstream.headers, x.route.response_edits if x.route is not None else None),
        own_lines(x),
    ]
    if framing_text:
        lines.append(framing_text)
    if upstream.status != 101:
        persistence = connection_line(x)
        if persistence:
            lines.append(persistence)
    lines.append(CRLF)
    return CRLF.join(lines)


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
        own_lines(x),
        *extra,
    ]
    persistence = connection_line(x)
    if persistence:
        lines.append(persistence)
    lines.append(CRLF)
    x.connection.writelines([CRLF.join(lines), b"" if x.method == "HEAD" else body])


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
