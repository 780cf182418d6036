"""A second opinion on HTTP/1 framing: a strict reader that shares nothing with the gateway's parser.

It takes CRLF only, exact chunk sizes, one way of framing; whatever is looser raises `Malformed`, so both what reaches
an origin and what reaches a client are checked by being read.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

Fields = list[tuple[bytes, bytes]]
"""Header fields in order, names as they were spelled."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Malformed(Exception):
    """Bytes that no strict HTTP/1.1 implementation sends."""


class Truncated(Exception):
    """The connection ended within a message; `got` is what came of its body."""

    def __init__(self, what: str, got: bytes = b"") -> None:
        self.got = got
        super().__init__(f"{what} ended after {len(got)} bytes")


def values(fields: Fields, name: str) -> list[bytes]:
    """All values of a field, name in any case."""
    wanted = name.lower().encode()
    return [value for spelled, value in fields if spelled.lower() == wanted]


def value(fields: Fields, name: str) -> str | None:
    """The only value of a field as text, None without one; an AssertionError when it is repeated."""
    found = values(fields, name)
    assert len(found) <= 1, f"{name} is repeated: {found}"
    return found[0].decode("latin-1") if found else None


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and header fields; `raw` is every byte up to and with the empty line."""

    start: bytes
    fields: Fields
    raw: bytes

    def values(self, name: str) -> list[bytes]:
        return values(self.fields, name)

    def value(self, name: str) -> str | None:
        return value(self.fields, name)


@dataclass(slots=True)
class Content:
    """A body as it was framed: `chunks` as they came (one for a length), and trailers."""

    chunks: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, None at a clean end of the connection; raises Malformed or Truncated."""
    start = await _line(reader, optional=True)
    if start is None:
        return None
    fields, raw = await _fields(reader)
    return Head(start, fields, start + b"\r\n" + raw)


async def read_content(reader: asyncio.StreamReader, head: Head, *, until_close: bool = False) -> Content:
    """The body that the head announces; without framing nothing, or all up to the end with `until_close`.

    Raises Malformed, or Truncated with what came.
    """
    codings, lengths = head.values("transfer-encoding"), head.values("content-length")
    if codings:
        if codings != [b"chunked"] or lengths:
            raise Malformed(f"framing {codings} {lengths}")
        return await _chunked(reader)
    if lengths:
        if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
            raise Malformed(f"Content-Length {lengths}")
        return Content([await _exactly(reader, int(lengths[0]), b"")])
    return Content([await reader.read()]) if until_close else Content()


async def _chunked(reader: asyncio.StreamReader) -> Content:
    content = Content()
    while True:
        try:
            size = await _line(reader)
        except Truncated:
            raise Truncated("a chunked body", content.body) from None
        if size is None or not _CHUNK_SIZE.fullmatch(size):
            raise Malformed(f"chunk size {size!r}")
        if int(size, 16) == 0:
            content.trailers, _ = await _fields(reader)
            return content
        content.chunks.append(await _exactly(reader, int(size, 16), content.body))
        if await _exactly(reader, 2, content.body) != b"\r\n":
            raise Malformed("a chunk longer than its size")


async def _fields(reader: asyncio.StreamReader) -> tuple[Fields, bytes]:
    fields: Fields = []
    raw = bytearray()
    while line := await _line(reader):
        name, colon, text = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
            raise Malformed(f"header line {line!r}")
        fields.append((name, text.strip(b" \t")))
        raw += line + b"\r\n"
    return fields, bytes(raw) + b"\r\n"


async def _line(reader: asyncio.StreamReader, *, optional: bool = False) -> bytes | None:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        if optional and not end.partial:
            return None
        raise Truncated("a head", end.partial) from None
    if line[-2:] != b"\r\n" or b"\r" in line[:-2]:
        raise Malformed(f"line end {line[-64:]!r}")
    return line[:-2]


async def _exactly(reader: asyncio.StreamReader, size: int, before: bytes) -> bytes:
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as end:
        raise Truncated("a body", before + end.partial) from None
