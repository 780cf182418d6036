"""What a client may send before it is refused, and as what. Pure; bytes throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataplane.errors import BadRequest, GatewayError, HeadersTooLarge, TargetTooLong
from dataplane.http1 import parser as http

if TYPE_CHECKING:
    from dataplane.runtime import ConnectionLimits

_CHUNK_OVERHEAD: Final = 16 * 1024
_TLS_HANDSHAKE: Final = b"\x16\x03"


def partial_head_error(received: int, target: bytes, limits: ConnectionLimits) -> GatewayError | None:
    """A head that is already too large while its end is not in sight."""
    if received <= limits.headers_total:
        return None
    return TargetTooLong() if len(target) > limits.header_line else HeadersTooLarge()


def framing_error(framing: int, content: int) -> GatewayError | None:
    """Framing that outweighs its content: endless chunk extensions or trailers.

    One-byte chunks cost five bytes of framing each, so eight to one lets every honest sender through.
    """
    if framing > _CHUNK_OVERHEAD + 8 * content:
        return BadRequest("The chunk extensions or trailers are too large")
    return None


def refusal_of(error: http.HttpParserError, data: bytes) -> GatewayError:
    """What to answer to bytes that the parser refused."""
    cause = http.raised_by_callback(error)
    if isinstance(cause, GatewayError):
        return cause
    if cause is not None:
        raise RuntimeError("a parser callback failed") from cause
    if isinstance(error, http.HttpParserInvalidMethodError) and data.startswith(_TLS_HANDSHAKE):
        return BadRequest("TLS was spoken on a port that expects plain HTTP")
    return BadRequest(detail=str(error))
