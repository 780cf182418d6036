"""Requests whose framing two servers could read differently: refused, closed, and nothing of them reaches an origin."""

from __future__ import annotations

import pytest

from tests.support.client import Response, chunked, connected, get
from tests.support.gateway import proxied
from tests.support.origin import OK, Origin, answering

SMUGGLED = get("/smuggled")


async def refused(data: bytes, *statuses: int) -> tuple[Response, Origin]:
    """Send bytes with a request right behind them; the one answer must be a refusal, and then the end."""
    async with proxied(answering(OK)) as (origin, gateway):
        async with connected(gateway.port) as client:
            await client.send(data)
            answer = await client.response()
            assert answer.status in (statuses or (400,)), (answer.status, answer.body)
            assert answer.value("connection") == "close"
            assert await client.closed()
        assert not any(request.complete for request in origin.received)
    return answer, origin


def head(*lines: bytes, body: bytes = b"") -> bytes:
    """A head of these lines, a body, and a request that must never be seen."""
    return b"\r\n".join([*lines, b"", b""]) + body + SMUGGLED


def post_with(*lines: bytes, version: bytes = b"1.1") -> bytes:
    """A POST with these framing lines and a body that is three bytes and a last chunk at once."""
    return head(b"POST / HTTP/" + version, b"Host: x", *lines, body=b"3\r\nabc\r\n0\r\n\r\n")


LENGTHS = {
    "with chunked": [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
    "after chunked": [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
    "twice the same": [b"Content-Length: 3", b"Content-Length: 3"],
    "twice, differing": [b"Content-Length: 3", b"Content-Length: 5"],
    "list": [b"Content-Length: 3, 3"],
    "list, differing": [b"Content-Length: 3, 5"],
    "plus": [b"Content-Length: +3"],
    "minus": [b"Content-Length: -3"],
    "spaced": [b"Content-Length: 1 3"],
    "empty": [b"Content-Length:"],
    "hex": [b"Content-Length: 0x3"],
    "underscore": [b"Content-Length: 1_3"],
    "fraction": [b"Content-Length: 3.0"],
    "beyond 64 bits": [b"Content-Length: 18446744073709551619"],
    "thirty digits": [b"Content-Length: " + b"9" * 30],
    "other digits": ["Content-Length: \u0663".encode()],
    "parameter": [b"Content-Length: 3;q=1"],
    "vertical tab": [b"Content-Length: \x0b3"],
}


@pytest.mark.parametrize("lines", LENGTHS.values(), ids=LENGTHS)
async def test_a_doubtful_length_is_refused(lines: list[bytes]) -> None:
    """Content-Length is one plain decimal number, and never stands beside Transfer-Encoding."""
    _, origin = await refused(post_with(*lines))
    assert origin.received == []


CODINGS = {
    "unknown": [b"Transfer-Encoding: gzip"],
    "before chunked": [b"Transfer-Encoding: gzip, chunked"],
    "after chunked": [b"Transfer-Encoding: chunked, gzip"],
    "chunked twice in a list": [b"Transfer-Encoding: chunked, chunked"],
    "chunked twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "hidden in a second line": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"],
    "identity": [b"Transfer-Encoding: identity"],
    "identity in a second line": [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"],
    "empty": [b"Transfer-Encoding:"],
    "empty member": [b"Transfer-Encoding: chunked,"],
    "prefix": [b"Transfer-Encoding: xchunked"],
    "suffix": [b"Transfer-Encoding: chunkedx"],
    "parameter": [b"Transfer-Encoding: chunked;q=1"],
    "quoted": [b'Transfer-Encoding: "chunked"'],
    "vertical tab": [b"Transfer-Encoding: \x0bchunked"],
    "NUL": [b"Transfer-Encoding: chunked\0"],
    "space before the colon": [b"Transfer-Encoding : chunked"],
    "folded": [b"Transfer-Encoding:", b" chunked"],
    "gzip with a length": [b"Transfer-Encoding: gzip", b"Content-Length: 3"],
}


@pytest.mark.parametrize("lines", CODINGS.values(), ids=CODINGS)
async def test_a_transfer_coding_but_one_chunked_is_refused(lines: list[bytes]) -> None:
    """What is neither one `chunked` nor nothing could hide a body from one of two servers."""
    _, origin = await refused(post_with(*lines), 400, 501)
    assert origin.received == []


async def test_a_transfer_coding_in_http_10_is_refused() -> None:
    """HTTP/1.0 knows none: one server would read chunks where another reads until the end."""
    _, origin = await refused(post_with(b"Transfer-Encoding: chunked", version=b"1.0"))
    assert origin.received == []


FIELDS = {
    "bare CR": b"X-A: a\rb",
    "bare CR before the name": b"\rX-A: a",
    "CR before CRLF": b"X-A: a\r",
    "bare LF": b"X-A: a\nX-B: b",
    "NUL in a value": b"X-A: a\0b",
    "NUL in a name": b"X-\0A: a",
    "control byte in a value": b"X-A: a\x01b",
    "DEL in a value": b"X-A: a\x7fb",
    "space before the colon": b"X-A : a",
    "tab before the colon": b"X-A\t: a",
    "space in a name": b"X A: a",
    "no name": b": a",
    "no colon": b"X-A",
    "folded": b"X-A: a\r\n b",
    "folded with a tab": b"X-A: a\r\n\tb",
    "parenthesis in a name": b"X(A): a",
    "byte above ASCII in a name": b"X-\xe9: a",
    "quote in a name": b'X"A: a',
}


@pytest.mark.parametrize("line", FIELDS.values(), ids=FIELDS)
async def test_a_malformed_field_is_refused(line: bytes) -> None:
    """Names are tokens right before their colon; lines end in CRLF, are not folded and hold no control bytes."""
    _, origin = await refused(head(b"GET / HTTP/1.1", b"Host: x", line))
    assert origin.received == []


async def test_a_first_field_that_begins_with_a_space_is_refused() -> None:
    """It would be part of the request line for some, a field for others."""
    _, origin = await refused(head(b"GET / HTTP/1.1", b" X-A: a", b"Host: x"))
    assert origin.received == []


async def test_lines_that_end_in_bare_lf_are_refused() -> None:
    """Even where all of them do."""
    _, origin = await refused(b"GET / HTTP/1.1\nHost: x\n\n")
    assert origin.received == []


STARTS = {
    "tab": b"GET\t/ HTTP/1.1",
    "trailing space": b"GET / HTTP/1.1 ",
    "leading space": b" GET / HTTP/1.1",
    "space in the target": b"GET /a b HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "method that is no token": b"G@T / HTTP/1.1",
    "lower-case protocol": b"GET / http/1.1",
    "other protocol": b"GET / ICAP/1.1",
    "version with two minor digits": b"GET / HTTP/1.10",
    "version without a dot": b"GET / HTTP/11",
    "version 0.9": b"GET / HTTP/0.9",
    "version 1.2": b"GET / HTTP/1.2",
    "version 2.0": b"GET / HTTP/2.0",
    "HTTP/0.9": b"GET /",
    "HTTP/2 preface": b"PRI * HTTP/2.0",
    "garbage": b"\xde\xad\xbe\xef" * 8,
    "NUL": b"GET /\0 HTTP/1.1",
    "an answer": b"HTTP/1.1 200 OK",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_malformed_request_line_is_refused(start: bytes) -> None:
    """One method, one target, one version of ours, single spaces between; 505 or 501 where that says it better."""
    _, origin = await refused(head(start, b"Host: x"), 400, 501, 505)
    assert origin.received == []


async def test_tls_on_the_plain_port_is_refused() -> None:
    """A client that speaks TLS is answered in plain text, at once."""
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(range(189))
    _, origin = await refused(hello)
    assert origin.received == []


BODIES = {
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "leading space": b" 3\r\nabc\r\n0\r\n\r\n",
    "trailing space": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "no hex": b"g\r\nabc\r\n0\r\n\r\n",
    "beyond 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
    "bare LF in an extension": b"3;a\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "nothing after the data": b"3\r\nabc0\r\n\r\n",
    "bare LF in the last chunk": b"3\r\nabc\r\n0\n\n",
    "trailer with a space before its colon": b"3\r\nabc\r\n0\r\nX-A : a\r\n\r\n",
    "folded trailer": b"3\r\nabc\r\n0\r\nX-A: a\r\n b\r\n\r\n",
    "bare LF in the trailers": b"3\r\nabc\r\n0\r\nX-A: a\n\n",
    "NUL in a trailer": b"3\r\nabc\r\n0\r\nX-A: a\0\r\n\r\n",
    "endless extension": b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n0\r\n\r\n",
    "endless extensions": b"1;aaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n" * 20_000 + b"0\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X-A: aaaaaaaaaaaaaaaa\r\n" * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_sloppy_chunks_are_refused(body: bytes) -> None:
    """A chunked body with anything but exact sizes and CRLF never ends well at an origin."""
    await refused(get("/", "Transfer-Encoding: chunked", method="POST") + body + SMUGGLED, 400, 413, 431)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"\r\n" + get(), b""),
        (get(" /"), b""),
        (get("/", "X-A: caf\xe9", "X-B:", "X-C:\t a \t"), b""),
        (get("/", "content-LENGTH:  3 ", method="POST") + b"abc", b"abc"),
        (get("/", "Content-Length: 03", method="POST") + b"abc", b"abc"),
        (get("/", "transfer-encoding: Chunked", method="POST") + chunked(b"ab", b"c"), b"abc"),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"03;a=b\r\nabc\r\n000;x\r\n\r\n", b"abc"),
        (get("/", "Transfer-Encoding: chunked", method="POST") + b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    ],
    ids=[
        "empty line first",
        "two spaces",
        "odd values",
        "spaced length",
        "leading zero",
        "case",
        "extensions",
        "upper hex",
    ],
)
async def test_what_is_only_unusual_is_served(data: bytes, body: bytes) -> None:
    """Strictness stops where HTTP allows a spelling; what goes on is the plain form."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(data)).status == 200
        assert origin.last.body == body


async def test_http2_is_refused_by_its_name() -> None:
    """What any client of HTTP/2 or gRPC sends first: who reads the answer, or the log, knows what is wrong."""
    answer, _ = await refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert answer.json["message"] == "HTTP/2 was spoken on a port that expects HTTP/1.1"
