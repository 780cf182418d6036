"""Writing the chunked transfer coding (RFC 9112 7.1). Pure."""

from __future__ import annotations

from typing import Final

from dataplane.http1.body import Body

NOTHING: Final[frozenset[bytes]] = frozenset()


def framed(chunks: list[bytes]) -> list[bytes]:
    """Pieces of a body as one chunk; nothing for nothing, because an empty chunk would end the body."""
    return [b"%x\r\n" % sum(map(len, chunks)), *chunks, b"\r\n"] if chunks else []


def last_chunk(body: Body, hidden: frozenset[bytes] = NOTHING) -> bytes:
    """The end of a body, with its trailers but those of these names (lower case)."""
    trailers = body.trailers
    if hidden and trailers:
        trailers = tuple([line for line in trailers if line.partition(b":")[0].lower() not in hidden])
    return b"\r\n".join((b"0", *trailers, b"", b""))
