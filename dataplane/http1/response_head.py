"""How an upstream's answer is framed, and what is refused of it. Pure.

Framing decides where one answer ends and the next begins; an answer that says two things about it, or nothing sensible,
is a 502 (RFC 9112 6.3, EDGE).
"""

from __future__ import annotations

import re
from enum import Enum

from dataplane.errors import UpstreamError
from dataplane.http1.fields import Headers, Role, tokens

_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_MOST_FIELDS = 256
_MOST_BYTES = 128 * 1024


class Framing(Enum):
    """Where a body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


def framing_of(status: int, version: str, headers: Headers, is_head: bool) -> tuple[Framing, int | None]:
    """The framing of a response and its length where it is declared; raises UpstreamError."""
    if version not in {"1.1", "1.0"}:
        raise UpstreamError(detail=f"HTTP/{version}")
    if not 100 <= status <= 599:  # RFC 9110 15: other codes are invalid
        raise UpstreamError(detail=f"status {status}")
    length, chunked = _declared(headers)
    if chunked and version == "1.0":
        raise UpstreamError(detail="Transfer-Encoding on HTTP/1.0")
    if is_head or status < 200 or status in {204, 304}:
        return Framing.NONE, None
    if chunked:
        return Framing.CHUNKED, None
    if length is None:
        return Framing.UNTIL_CLOSE, None
    return (Framing.LENGTH, length) if length else (Framing.NONE, 0)


def check_reason(reason: bytes) -> None:
    """Refuse a reason phrase with control bytes (RFC 9112 4); raises UpstreamError."""
    if reason != b"OK" and not _REASON.fullmatch(reason):
        raise UpstreamError(detail="control bytes in the reason phrase")


def stays_open(version: str, headers: Headers) -> bool:
    """Whether the connection persists (RFC 9112 9.3): for answers to HEAD, whose framing the parser misjudges."""
    named = [t for field, value in headers if field.response_role is Role.CONNECTION for t in tokens(value)]
    return b"keep-alive" in named if version == "1.0" else b"close" not in named


def _declared(headers: Headers) -> tuple[int | None, bool]:
    length: int | None = None
    chunked = False
    size = 0
    for field, value in headers:
        size += len(field.prefix) + len(value)
        if field.response_role is Role.CONTENT_LENGTH:
            length = int(value)
        elif field.response_role is Role.TRANSFER_ENCODING:
            if value.strip(b" \t").lower() != b"chunked" or chunked:
                raise UpstreamError(detail="transfer coding other than chunked")
            chunked = True
    if size > _MOST_BYTES or len(headers) > _MOST_FIELDS:
        raise UpstreamError(detail="response head too large")
    return length, chunked
