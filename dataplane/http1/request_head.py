"""Reading a request head: which fields the gateway obeys, which it forwards, which it refuses. Pure.

The parser has already refused what is not HTTP (bare CR or LF, NUL, obs-fold, bad names, both framings, bad lengths);
what is checked here is what HTTP allows to be written but an intermediary must not pass on (RFC 9110, 9112; EDGE).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dataplane.errors import BadRequest, ExpectationFailed, HeadersTooLarge, TargetTooLong, VersionNotSupported
from dataplane.http1.fields import Role, length_of, tokens

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.runtime import ConnectionLimits

MOST_FIELDS: Final = 128
"""As many as aiohttp's parser allows; nginx and Envoy allow 100."""

# Members of the enumeration looked up once: this runs for every request.
_DROP: Final = Role.DROP
_HOST_FIELD: Final = Role.HOST
_CONNECTION: Final = Role.CONNECTION
_CONTENT_LENGTH: Final = Role.CONTENT_LENGTH
_TRANSFER_ENCODING: Final = Role.TRANSFER_ENCODING
_UPGRADE: Final = Role.UPGRADE

# RFC 3986 3.2.2: a registered name, an IPv4 address or a bracketed IPv6 address, then perhaps a port. No user, no list.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_CORRELATION_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_UPGRADE_TOKEN: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~/-]{1,64}")
# RFC 9113 3.1 retired the h2c upgrade; tunnelling it would let requests past the routes.
_NEVER_TUNNELLED: Final = (b"h2c", b"h2", b"tls", b"http")


def examine(x: Exchange) -> int | None:
    """Fill in what the head says and keep the lines to forward; return the declared body length.

    -1: chunked; None: no body. Raises a GatewayError that answers and closes.
    """
    lines = x.upstream_lines
    length: int | None = None
    named: list[bytes] = []
    upgrade = b""
    for field, value in x.headers:
        role = field.request_role
        if not role:
            lines.append(field.prefix + value)
        elif role is _HOST_FIELD:
            if x.host:
                raise BadRequest("The Host header is repeated")
            # A client rarely changes it: what was found valid on this connection is.
            x.host = value if value == x.connection.host else _valid_host(value)
        elif role is _CONNECTION:
            named += tokens(value)
        elif role is _CONTENT_LENGTH:
            length = length_of(value)
        elif role is _TRANSFER_ENCODING:
            length = _chunked(x, value)
        elif role is _UPGRADE:
            upgrade = value.strip()
        elif role is not _DROP:
            _note(x, role, value)
    if not x.host and x.http11:
        raise BadRequest("The Host header is missing or empty")
    if not x.http11 or named:
        _apply_connection(x, named, upgrade, length)
    return length


def check_sizes(x: Exchange, limits: ConnectionLimits) -> int:
    """The size of a head in bytes, within its limits; raises TargetTooLong or HeadersTooLarge."""
    if len(x.raw_target) > limits.header_line:
        raise TargetTooLong(f"The request target may have at most {limits.header_line} bytes")
    if len(x.headers) > MOST_FIELDS:
        raise HeadersTooLarge(f"A request may have at most {MOST_FIELDS} header fields")
    size = 0
    for field, value in x.headers:
        line = len(field.prefix) + len(value)
        if line > limits.header_line:
            raise HeadersTooLarge(f"A header field may have at most {limits.header_line} bytes")
        size += line
    if size > limits.headers_total:
        raise HeadersTooLarge(f"All header fields together may have at most {limits.headers_total} bytes")
    return size + len(x.raw_target)


def check_version(version: str) -> bool:
    """True for HTTP/1.1, False for HTTP/1.0; raises VersionNotSupported."""
    if version == "1.1":
        return True
    if version == "1.0":
        return False
    raise VersionNotSupported


def origin_form(x: Exchange) -> bytes:
    """The path and query of any target; raises BadRequest. Its authority replaces Host's (RFC 9112 3.2.2)."""
    target = x.raw_target
    if target[:1] == b"/":
        return target
    if target == b"*":
        if x.method != "OPTIONS":
            raise BadRequest("The target * goes with OPTIONS only")
        return b"/"
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadRequest("The request target is not a path")
    authority = _valid_host(absolute[1])
    # RFC 9112 3.2.2 lets the target win; one that disagrees with Host is an attack or a mistake (CONTRACT 2).
    if x.host and authority.lower() != x.host.lower():
        raise BadRequest("The request target and the Host header disagree")
    x.host = authority
    return absolute[2] if absolute[2][:1] == b"/" else b"/" + absolute[2]


def _valid_host(value: bytes) -> bytes:
    host = value.strip(b" \t")
    if not _HOST.fullmatch(host):
        raise BadRequest("The Host header is missing, empty or not a host name")
    return host


def _chunked(x: Exchange, value: bytes) -> int:
    # RFC 9112 6.1: TE on HTTP/1.0 is faulty framing; any coding but one final `chunked` is unknown to us.
    if not x.http11:
        raise BadRequest("Transfer-Encoding is not allowed in HTTP/1.0")
    if value.strip(b" \t").lower() != b"chunked":
        raise BadRequest("The only transfer coding supported is chunked")
    return -1


def _note(x: Exchange, role: Role, value: bytes) -> None:
    """The rarer fields, by role."""
    value = value.strip(b" \t")
    if role is Role.TE:
        x.te_trailers = b"trailers" in tokens(value)
    elif role is Role.EXPECT:
        if value.lower() != b"100-continue":
            raise ExpectationFailed
        x.expect_continue = x.http11  # RFC 9110 10.1.1: ignored from an HTTP/1.0 client
    elif role is Role.CORRELATION_ID:
        if _CORRELATION_ID.fullmatch(value):
            x.correlation_id = value
    elif role is Role.FORWARDED_FOR:
        x.forwarded_for = _joined(x.forwarded_for, value)
    elif role is Role.FORWARDED_PROTO:
        x.forwarded_proto = value
    elif role is Role.FORWARDED_HOST:
        x.forwarded_host = value
    elif role is Role.FORWARDED:
        x.forwarded = _joined(x.forwarded, value)
    elif role is Role.VIA:
        x.via = _joined(x.via, value)
    elif role is Role.MAX_FORWARDS and value.isdigit():
        x.max_forwards = int(value[:10])


def _joined(before: bytes, value: bytes) -> bytes:
    return before + b", " + value if before else value


def _apply_connection(x: Exchange, named: list[bytes], upgrade: bytes, length: int | None) -> None:
    """Persistence and what Connection names: those fields go no further (RFC 9110 7.6.1)."""
    if b"close" in named or (not x.http11 and b"keep-alive" not in named):
        x.keep_alive = False
    if b"upgrade" in named and upgrade and _may_upgrade(x, upgrade, length):
        x.upgrade = upgrade
    fields = set(named) - {b"close", b"keep-alive", b"upgrade", b"te"}
    if fields:
        forwarded = [line for line in x.headers if not line[0].request_role and line[0].name not in fields]
        x.upstream_lines[:] = [field.prefix + value for field, value in forwarded]


def _may_upgrade(x: Exchange, upgrade: bytes, length: int | None) -> bool:
    token = upgrade.lower().partition(b"/")[0]
    asked = x.method == "GET" and x.http11 and length in (None, 0)
    return asked and token not in _NEVER_TUNNELLED and _UPGRADE_TOKEN.fullmatch(upgrade) is not None
