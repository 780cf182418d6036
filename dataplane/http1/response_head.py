"""Reading an upstream's answer: what of its head goes on, how it is framed, and what is refused. Pure.

Framing decides where one answer ends and the next begins; an answer that says two things about it, or nothing sensible,
is a 502 (RFC 9112 6.3, EDGE).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from dataplane.errors import UpstreamError
from dataplane.http1.fields import Headers, Role, length_of, tokens

_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_MOST_FIELDS: Final = 256
_MOST_BYTES: Final = 128 * 1024
# Members of the enumeration looked up once: this runs for every answer.
_CONTENT_LENGTH: Final = Role.CONTENT_LENGTH
_TRANSFER_ENCODING: Final = Role.TRANSFER_ENCODING
_CONNECTION: Final = Role.CONNECTION
_UPGRADE: Final = Role.UPGRADE
_DATE: Final = Role.DATE
_PERSISTENCE: Final = frozenset({b"keep-alive", b"close"})


class Framing(Enum):
    """Where a body ends."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class ResponseHead:
    """One final answer's head: the lines to send on, and the framing fields taken out of them."""

    __slots__ = ("chunked", "dated", "length", "length_line", "lines", "persistent", "upgrade")

    def __init__(self, fields: Headers) -> None:
        """Raises UpstreamError for framing that no honest origin sends."""
        self.lines: list[bytes] = []
        self.length: int | None = None
        self.length_line = b""
        self.chunked = False
        self.upgrade = b""
        self.dated = False  # it says when it was made
        self.persistent: bool | None = None  # what Connection says of it
        lines = self.lines
        named: list[bytes] = []
        for field, value in fields:
            role = field.response_role
            if not role:
                lines.append(field.prefix + value)
            elif role is _DATE:
                lines.append(field.prefix + value)
                self.dated = True
            elif role is _CONTENT_LENGTH:
                self.length = length_of(value)
                self.length_line = field.prefix + value
            elif role is _CONNECTION:
                named.append(value)
            elif role is _TRANSFER_ENCODING:
                if value.strip(b" \t").lower() != b"chunked" or self.chunked:
                    raise UpstreamError(detail="transfer coding other than chunked")
                self.chunked = True
            elif role is _UPGRADE:
                self.upgrade = value.strip(b" \t")
        if named:
            self._apply_connection(named)

    def _apply_connection(self, values: list[bytes]) -> None:
        """What Connection names goes no further (RFC 9110 7.6.1)."""
        if values[0] == b"keep-alive" and len(values) == 1:  # what most origins say
            self.persistent = True
            return
        named = {token for value in values for token in tokens(value)}
        self.persistent = False if b"close" in named else True if b"keep-alive" in named else None
        gone = named - _PERSISTENCE
        if gone:
            self.dated = self.dated and b"date" not in gone
            self.lines = [line for line in self.lines if line.partition(b":")[0].lower() not in gone]

    def framing(self, status: int, version: str, is_head: bool) -> Framing:
        """How the body is framed; raises UpstreamError."""
        if version != "1.1" and (version != "1.0" or self.chunked):
            raise UpstreamError(detail=f"HTTP/{version}" + (" with Transfer-Encoding" if self.chunked else ""))
        if not 100 <= status <= 599:  # RFC 9110 15: other codes are invalid
            raise UpstreamError(detail=f"status {status}")
        if is_head or status < 200 or status in {204, 304}:
            return Framing.NONE
        if self.chunked:
            return Framing.CHUNKED
        if self.length is None:
            return Framing.UNTIL_CLOSE
        return Framing.LENGTH if self.length else Framing.NONE

    def stays_open(self, version: str) -> bool:
        """Whether the connection persists (RFC 9112 9.3): for answers to HEAD, whose framing the parser misjudges."""
        return self.persistent is True if version == "1.0" else self.persistent is not False


def check_head(reason: bytes, fields: Headers, received: int) -> None:
    """Refuse control bytes in the reason phrase (RFC 9112 4) and heads beyond any honest size; raises UpstreamError."""
    if reason != b"OK" and not _REASON.fullmatch(reason):
        raise UpstreamError(detail="control bytes in the reason phrase")
    if len(fields) > _MOST_FIELDS:
        raise UpstreamError(detail="too many header fields in the response")
    if received > _MOST_BYTES and sum(len(field.prefix) + len(value) for field, value in fields) > _MOST_BYTES:
        raise UpstreamError(detail="response head too large")
