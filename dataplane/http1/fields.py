"""Header field names, learned once: what a name means on its way up and on its way down, and its bytes ready to send.

A name as a peer spells it maps to one `Field`: no lower(), no set tests, no formatting for each header. Heads are much
alike, so each field remembers which one came behind it the last time: comparing with that is cheaper than the hash that
a look-up takes. Names in the table live as long as the process; names that peers invent are learned up to a bound and
computed each time beyond it, so that invented names cannot fill memory.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """What the gateway does with a field; 0 is "forward it", so that the common case is one truth test."""

    FORWARD = 0
    DROP = 1  # hop-by-hop, or the gateway says it itself
    CONNECTION = 2
    HOST = 3
    CONTENT_LENGTH = 4
    TRANSFER_ENCODING = 5
    TE = 6
    EXPECT = 7
    UPGRADE = 8
    FORWARDED_FOR = 9
    FORWARDED_PROTO = 10
    FORWARDED_HOST = 11
    FORWARDED = 12
    VIA = 13
    CORRELATION_ID = 14
    MAX_FORWARDS = 15
    DATE = 16


# RFC 9110 7.6.1: what an intermediary must not forward, beside the fields that Connection names.
_HOP_BY_HOP: Final = (
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"http2-settings",
)
_SHARED: Final = {
    b"connection": Role.CONNECTION,
    b"content-length": Role.CONTENT_LENGTH,
    b"transfer-encoding": Role.TRANSFER_ENCODING,
    b"upgrade": Role.UPGRADE,
} | dict.fromkeys(_HOP_BY_HOP, Role.DROP)

REQUEST_ROLES: Final = _SHARED | {
    b"host": Role.HOST,
    b"te": Role.TE,
    b"expect": Role.EXPECT,
    b"x-forwarded-for": Role.FORWARDED_FOR,
    b"x-forwarded-proto": Role.FORWARDED_PROTO,
    b"x-forwarded-host": Role.FORWARDED_HOST,
    b"x-forwarded-port": Role.DROP,
    b"x-real-ip": Role.DROP,
    b"forwarded": Role.FORWARDED,
    b"via": Role.VIA,
    b"x-correlation-id": Role.CORRELATION_ID,
    b"max-forwards": Role.MAX_FORWARDS,
    # Who the caller is, is for the gateway to say.
    b"x-consumer-name": Role.DROP,
}
RESPONSE_ROLES: Final = _SHARED | {
    b"date": Role.DATE,
    b"te": Role.DROP,
    # The gateway's own words on every answer: an upstream cannot say them for it.
    b"x-api-version": Role.DROP,
    b"x-config-version": Role.DROP,
    b"x-correlation-id": Role.DROP,
}
# RFC 9110 6.5.1: fields that mean something for framing, routing or authentication have no place in trailers.
NOT_IN_TRAILERS: Final = frozenset(REQUEST_ROLES) | {
    b"trailer",
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"content-encoding",
    b"content-type",
    b"content-range",
    b"cache-control",
}

_MOST_LEARNED: Final = 4096
_LONGEST_LEARNED: Final = 64


class Field:
    """One spelling of a field name."""

    __slots__ = ("follower", "learned", "name", "prefix", "request_role", "response_role", "spelling")

    def __init__(self, spelling: bytes) -> None:
        self.spelling = spelling
        self.learned = False
        self.follower: Field | None = None  # a learned one
        self.name = spelling.lower()
        self.prefix = spelling + b": "
        # Names with `_` are dropped: CGI-style origins cannot tell them from `-` (EDGE, Identity).
        self.request_role = Role.DROP if b"_" in spelling else REQUEST_ROLES.get(self.name, Role.FORWARD)
        self.response_role = RESPONSE_ROLES.get(self.name, Role.FORWARD)

    def __repr__(self) -> str:
        return f"<Field {self.prefix!r} {self.request_role.name}/{self.response_role.name}>"


class FieldTable:
    """Spelling -> Field; what is not known yet is computed, and remembered while there is room."""

    def __init__(self) -> None:
        self._known: dict[bytes, Field] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, spelling: bytes) -> Field:
        """The field that is spelled like this."""
        field = self._known.get(spelling)
        return field if field is not None else self._learn(spelling)

    def behind(self, before: Field, spelling: bytes) -> Field:
        """The field that is spelled like this, and stands behind that one in a head."""
        guess = before.follower
        if guess is not None and guess.spelling == spelling:
            return guess
        field = self.of(spelling)
        if field.learned and before.learned:
            before.follower = field
        return field

    def _learn(self, spelling: bytes) -> Field:
        field = Field(spelling)
        if len(self._known) < _MOST_LEARNED and len(spelling) <= _LONGEST_LEARNED:
            field.learned = True
            self._known[spelling] = field
        return field


FIELDS: Final = FieldTable()
FIRST_OF_REQUEST: Final = FIELDS.of(b"(request)")
FIRST_OF_RESPONSE: Final = FIELDS.of(b"(response)")
"""What the first fields of heads stand behind; nobody can send these."""

Headers = list[tuple[Field, bytes]]
"""Header fields in the order they arrived."""


def value_of(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a field (`name` in lower case), without surrounding blanks; None where there is none."""
    for field, value in headers:
        if field.name == name:
            return value.strip(b" \t")
    return None


def length_of(value: bytes) -> int:
    """The number that a Content-Length says, which the parser has found valid."""
    length = 0
    for at in range(len(value)):  # `int` takes six times as long for bytes
        digit = value[at] - 48
        if not 0 <= digit <= 9:
            return int(value)  # it has blanks
        length = length * 10 + digit
    return length


def tokens(value: bytes) -> list[bytes]:
    """The lower-case members of a comma-separated list, empty ones left out."""
    return [token for part in value.lower().split(b",") if (token := part.strip(b" \t"))]
