"""Methods that HTTP allows and no list knows: forwarded like any other, however they come; everything else refused."""

from __future__ import annotations

import json

import pytest

from tests.property.test_framing import send_in_pieces
from tests.support.client import chunked, connected, get, post
from tests.support.gateway import proxied
from tests.support.origin import OK, answering, echo

INVENTED = [
    "FOO",
    "PURGE2",
    "GETX",
    "X",
    "PLAY",
    "DESCRIBE",
    "SEARCH-ALL",
    "foo",
    "Mixed",
    "0",
    "!#$%&'*+.^_`|~-",
    "A" * 32,
]
LATE = {"timeout": {"header": 100}}


@pytest.mark.parametrize("method", INVENTED)
async def test_any_token_is_forwarded(method: str) -> None:
    """As it was written, with and without a body, several on one connection and with others between."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        for data in (get("/a", method=method), post(b"body", "/b", method=method), get("/c"), get("/d", method=method)):
            assert (await client.ask(data)).status == 200
    assert [(one.method, one.target, one.body) for one in origin.received] == [
        (method, "/a", b""),
        (method, "/b", b"body"),
        ("GET", "/c", b""),
        (method, "/d", b""),
    ]


REFUSED = {
    "33 characters": b"A" * 33,
    "a kilobyte": b"A" * 1024,
    "known, in lower case": b"get",
    "known, in both cases": b"Delete",
    "never proxied, in lower case": b"connect",
    "HTTP/2 preface": b"PRI",
    "HTTP/2 preface, in lower case": b"pri",
    "NUL": b"FO\0",
    "NUL first": b"\0FOO",
    "tab": b"FOO\t",
    "delete": b"FOO\x7f",
    "no ASCII": b"FO\xc3\x96",
    "colon": b"FOO:",
    "slash": b"FOO/1",
    "at": b"F@O",
    "quote": b'"FOO"',
    "bare CR": b"FO\rO",
    "bare LF": b"FO\nO",
    "nothing": b"",
}


@pytest.mark.parametrize("method", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("before", [b"", get("/first")], ids=["first", "pipelined"])
async def test_what_is_no_method_is_refused(method: bytes, before: bytes) -> None:
    """400 and the end, with nothing of it or of what follows at the origin; what came before is answered."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        await client.send(before + method + b" / HTTP/1.1\r\nHost: x\r\n\r\n" + get("/smuggled"))
        if before:
            assert (await client.response()).status == 200
        answer = await client.response()
        assert (answer.status, answer.value("connection")) == (400, "close")
        assert await client.closed()
    assert [one.target for one in origin.received] == (["/first"] if before else [])


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_what_is_never_proxied_stays_so(method: str) -> None:
    """405, as before."""
    async with proxied(echo) as (origin, gateway):
        assert (await gateway.ask(get("x:80" if method == "CONNECT" else "/", method=method))).status == 405
    assert origin.received == []


STARTS = {
    "protocol of RTSP": b"FOO / RTSP/1.0",
    "method of RTSP with its protocol": b"PLAY / RTSP/1.0",
    "protocol of ICE": b"FOO / ICE/1.0",
    "HTTP/2": b"FOO / HTTP/2.0",
    "HTTP/0.9": b"FOO /",
    "no target": b"FOO HTTP/1.1",
    "asterisk": b"FOO * HTTP/1.1",
    "authority": b"FOO x:80 HTTP/1.1",
    "space in the target": b"FOO /a b HTTP/1.1",
    "NUL in the target": b"FOO /\0 HTTP/1.1",
    "two methods": b"FOO FOO / HTTP/1.1",
    "known after unknown": b"FOO GET / HTTP/1.1",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_the_rest_of_the_line_is_held_to_the_same_rules(start: bytes) -> None:
    """A method of one's own lets nothing through that another one would not."""
    async with proxied(answering(OK)) as (origin, gateway), connected(gateway.port) as client:
        await client.send(start + b"\r\nHost: x\r\n\r\n" + get("/smuggled"))
        assert (await client.response()).status in {400, 505}
        assert await client.closed()
    assert origin.received == []


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Content-Length: +3"],
        ["Transfer-Encoding: gzip"],
        ["Bad Name: x"],
        ["Host: y"],
        ["X: a\r\n b"],
        ["X: a\0"],
    ],
)
async def test_the_head_is_held_to_the_same_rules(lines: list[str]) -> None:
    """Doubtful framing and fields are refused whatever the method is."""
    async with proxied(answering(OK)) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get("/", *lines, method="FOO") + b"3\r\nabc\r\n0\r\n\r\n" + get("/smuggled"))
        assert (await client.response()).status == 400
        assert await client.closed()
    assert origin.received == []


@pytest.mark.parametrize(("data", "status"), [("/" + "a" * 2000, 414), ("/", 431)])
async def test_the_head_is_limited(data: str, status: int) -> None:
    """Target and fields count as they do for others."""
    limits = {"maxHeaderSize": "1kb", "maxHeadersSize": "2kb"}
    async with proxied(answering(OK), proxy=limits) as (_, gateway):
        assert (await gateway.ask(get(data, "X: " + "a" * 2000, method="FOO"))).status == status


PIPELINED = [
    get("/1"),
    get("/2", method="FOO"),
    post(b"FOO / HTTP/1.1\r\n\r\n", "/3"),
    post(b"PLAY", "/4", method="PLAY"),
    get("/5", "Transfer-Encoding: chunked", method="FOO") + chunked(b"0\r\n\r\n", b"FOO /x HTTP/1.1\r\n\r\n"),
    b"\r\n" + get("/6", method="foo"),
    get("/7", "Connection: upgrade", "Upgrade: websocket", "Content-Length: 3", method="FOO") + b"abc",
    get("/8", method="GETX"),
]


@pytest.mark.parametrize("width", [1, 2, 3, 7])
async def test_any_method_is_read_however_its_bytes_come(width: int) -> None:
    """Eight requests in a row, in pieces of a few bytes: each arrives once, as it was sent."""
    stream = b"".join(PIPELINED)
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        await send_in_pieces(client, stream, list(range(0, len(stream), width)))
        for number in range(1, 9):
            answer = await client.response()
            assert (answer.status, answer.json["target"]) == (200, f"/{number}")
    methods = ["GET", "FOO", "POST", "PLAY", "FOO", "foo", "FOO", "GETX"]
    assert [one.method for one in origin.received] == methods
    assert [len(one.body) for one in origin.received] == [0, 0, 18, 4, 24, 0, 3, 0]


async def test_any_method_is_read_wherever_a_row_of_requests_is_cut() -> None:
    """The same row, cut once, at every place there is."""
    stream = b"".join(PIPELINED)
    async with proxied(echo) as (origin, gateway):
        for cut in range(1, len(stream)):
            async with connected(gateway.port) as client:
                await send_in_pieces(client, stream, [cut])
                assert [(await client.response()).json["target"] for _ in PIPELINED] == [f"/{n}" for n in range(1, 9)]
    assert len(origin.received) == len(PIPELINED) * (len(stream) - 1)


async def test_many_are_pipelined() -> None:
    """As many as of any other method, in order, in one read."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        await client.send(b"".join(get(f"/{number}", method="FOO") for number in range(300)))
        for number in range(300):
            assert (await client.response()).json["target"] == f"/{number}"


async def test_behind_a_long_body_it_needs_a_read_of_its_own() -> None:
    """Where it begins cannot be told there: 501 and the end. In a read of its own it is forwarded."""
    body = chunked(b"a" * 40_000)
    head = get("/long", "Transfer-Encoding: chunked", method="POST")
    async with proxied(echo) as (origin, gateway):
        for last, status in ((get("/foo", method="FOO"), 501), (b"", 200)):
            async with connected(gateway.port) as client:
                await client.send(head + body[:-100])
                await origin.arrived(1 if last else 2)
                await client.send(body[-100:] + last)
                assert (await client.response()).status == 200
                if not last:
                    await client.send(get("/foo", method="FOO"))
                assert (await client.response()).status == status
    assert [one.target for one in origin.received] == ["/long", "/long", "/foo"]


async def test_a_method_without_end_runs_out_of_time() -> None:
    """The time for a head covers the method too."""
    async with proxied(echo, proxy=LATE) as (_, gateway), connected(gateway.port) as client:
        await client.send(b"PURGE2")
        assert (await client.response()).status == 408
        assert await client.closed()


async def test_routes_may_ask_for_any_method() -> None:
    """A listed one is served, another one is 405 with those that are."""
    async with proxied(answering(OK), route={"methods": ["FOO", "PLAY"]}) as (origin, gateway):
        statuses = [(await gateway.ask(get("/", method=method))).status for method in ("FOO", "PLAY", "FOOD", "GET")]
        assert statuses == [200, 200, 405, 405]
        assert (await gateway.ask(get("/", method="BAR"))).value("allow") == "FOO, PLAY"
    assert [one.method for one in origin.received] == ["FOO", "PLAY"]


async def test_metrics_are_bounded_and_logs_are_exact(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Invented methods share one value of the label; the log has each as it came."""
    sampling = {"logging": {"sampling": {"successRate": 1.0}}}
    async with proxied(answering(OK), **sampling) as (_, gateway):
        for number in range(20):
            assert (await gateway.ask(get("/", method=f"M{number}"))).status == 200
        assert (await gateway.ask(get("/"))).status == 200
        metrics = await gateway.settled()
    assert metrics.labels("http_requests_total", "method") == {"GET", "_OTHER"}
    assert metrics.value("http_requests_total", method="_OTHER", status="200") == 20
    lines = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines() if b"request.completed" in line]
    assert {f"M{number}" for number in range(20)} <= {line["http"]["method"] for line in lines}
