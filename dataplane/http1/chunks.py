"""Writing the chunked transfer coding (RFC 9112 7.1). Pure."""

from __future__ import annotations

from dataplane.http1.body import Body


def framed(chunks: list[bytes]) -> list[bytes]:
    """Pieces of a body as one chunk; nothing for nothing, because an empty chunk would end the body."""
    return [b"%x\r\n" % sum(map(len, chunks)), *chunks, b"\r\n"] if chunks else []


def last_chunk(body: Body) -> bytes:
    """The end of a body, with its trailers."""
    return b"\r\n".join((b"0", *body.trailers, b"", b""))
