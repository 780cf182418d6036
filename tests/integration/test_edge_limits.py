"""Limits: what is too large is refused early, at exactly the size that is configured, and costs little."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from tests.support.client import RawClient, chunked, connected, get, let_go, post
from tests.support.deadline import eventually
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, Peer, answering, echo, serving

SMALL = {"maxBodySize": 100}
HEADS = {"maxHeaderSize": 1000, "maxHeadersSize": 4000}


def field_of(size: int) -> str:
    """A header field whose name, colon, blank and value have that size."""
    return "X-A: " + "a" * (size - 5)


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 431), (2500, 431)])
@pytest.mark.parametrize("pieces", [1, 7])
async def test_one_field_is_limited(size: int, status: int, pieces: int) -> None:
    """`maxHeaderSize` to the byte, however the head is cut into segments; refused means closed."""
    async with proxied(answering(OK), proxy=HEADS) as (origin, gateway), connected(gateway.port) as client:
        data = get("/", field_of(size))
        for start in range(0, len(data), len(data) // pieces + 1):
            await client.send(data[start : start + len(data) // pieces + 1])
        answer = await client.response()
        assert (answer.status, len(origin.received)) == (status, status == 200)
        if status == 431:
            assert await client.closed()


@pytest.mark.parametrize(("fields", "status"), [(3, 200), (5, 431)])
async def test_all_fields_together_are_limited(fields: int, status: int) -> None:
    """`maxHeadersSize` counts every field."""
    async with proxied(answering(OK), proxy=HEADS) as (_, gateway):
        assert (await gateway.ask(get("/", *[field_of(900)] * fields))).status == status


async def test_the_number_of_fields_is_limited() -> None:
    """A hundred are served, thousands are not, however short."""
    async with proxied(answering(OK)) as (_, gateway):
        assert (await gateway.ask(get("/", *["A:"] * 90))).status == 200
        assert (await gateway.ask(get("/", *["A:"] * 2000))).status == 431


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 414)])
async def test_the_target_is_limited(size: int, status: int) -> None:
    """414 beyond the size of one line."""
    async with proxied(answering(OK), proxy=HEADS) as (_, gateway):
        assert (await gateway.ask(get("/" + "a" * (size - 1)))).status == status


@pytest.mark.parametrize(
    ("start", "statuses"),
    [(b"GET /", {414}), (b"GET / HTTP/1.1\r\nX-A: ", {431}), (b"GET / HTTP/1.1\r\n", {431}), (b"A", {400, 414, 501})],
    ids=["target", "value", "fields", "method"],
)
async def test_a_head_without_end_is_refused_before_it_ends(start: bytes, statuses: set[int]) -> None:
    """After a bounded number of bytes, whatever part of it is endless."""
    async with proxied(answering(OK)) as (_, gateway), connected(gateway.port) as client:
        more = b"X-A: a\r\n" if start.endswith(b"1.1\r\n") else b"a" * 8
        client.writer.write(start + more * 100_000)
        answer = await client.response()
        assert answer.status in statuses
        assert await client.closed()


@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)])
@pytest.mark.parametrize("framing", ["length", "chunked", "many chunks"])
async def test_a_body_is_limited(size: int, status: int, framing: str) -> None:
    """`maxBodySize` to the byte for every framing; too large never arrives whole."""
    data = {
        "length": post(bytes(size)),
        "chunked": get("/", "Transfer-Encoding: chunked", method="POST") + chunked(bytes(size)),
        "many chunks": get("/", "Transfer-Encoding: chunked", method="POST") + chunked(*[b"a"] * size),
    }[framing]
    async with proxied(answering(OK), proxy=SMALL) as (origin, gateway):
        answer = await gateway.ask(data)
        assert answer.status == status
        assert any(request.complete for request in origin.received) == (status == 200)


async def test_a_route_may_have_a_limit_of_its_own() -> None:
    """Larger or smaller than the general one."""
    routes = [{"path": "/small", "maxBodySize": 10}, {"path": "/large", "maxBodySize": 1000}]
    async with proxied(answering(OK), proxy=SMALL, routes=routes) as (_, gateway):
        statuses = [(await gateway.ask(post(bytes(size), path))).status for path, size in
                    (("/small", 10), ("/small", 11), ("/large", 1000), ("/large", 1001))]  # fmt: skip
        assert statuses == [200, 413, 200, 413]


async def test_a_declared_body_is_refused_before_it_is_sent() -> None:
    """The answer does not wait for a body that will not be taken."""
    async with proxied(answering(OK), proxy=SMALL) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(get("/", "Content-Length: 1000000000000", method="POST"))
        assert (answer.status, answer.value("connection")) == (413, "close")
        assert origin.received == []


async def test_413_reaches_a_client_that_is_still_sending() -> None:
    """The gateway reads on for a while before it closes, so that no reset overtakes the answer."""
    async with proxied(answering(OK), proxy=SMALL) as (_, gateway), connected(gateway.port) as client:
        client.writer.write(get("/", "Content-Length: 900000", method="POST") + bytes(900_000))
        answer = await client.response()
        assert (answer.status, answer.json["error"]) == (413, "Content Too Large")


async def test_a_chunked_body_is_refused_while_it_streams() -> None:
    """The client gets 413 in the middle of its upload, and the origin a body that breaks off."""

    async def script(peer: Peer) -> None:
        received = await peer.head()
        assert received is not None
        await peer.body(received)

    async with proxied(script, proxy={"maxBodySize": 1000}) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        await origin.arrived()
        await client.send(b"400\r\n" + bytes(1024) + b"\r\n")
        assert (await client.response()).status == 413
        await origin.until(lambda: origin.open == 0)
        assert not origin.last.complete


async def test_connections_are_limited() -> None:
    """`maxConnections`: one more is turned away, and there is room again when one leaves."""
    async with proxied(echo, proxy={"maxConnections": 2}) as (_, gateway), connected(gateway.port) as first:
        assert (await first.ask(get())).status == 200
        async with connected(gateway.port) as second:
            assert (await second.ask(get())).status == 200
            async with connected(gateway.port) as third:
                answer = await third.whole(get())
                assert answer is None or answer.status == 503

        async def another() -> bool:
            async with connected(gateway.port) as client:
                return await client.whole(get()) is not None

        assert await eventually(another, bool)


async def test_connections_of_one_address_are_limited() -> None:
    """`maxConnectionsPerIp`: the same for one address; those it has go on."""
    async with proxied(echo, proxy={"maxConnectionsPerIp": 1}) as (_, gateway), connected(gateway.port) as first:
        assert (await first.ask(get())).status == 200
        async with connected(gateway.port) as second:
            assert await second.whole(get()) is None
        assert (await first.ask(get())).status == 200


@pytest.mark.parametrize(("listens", "comes_from"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")])
async def test_the_places_of_an_address_come_back(listens: str, comes_from: str) -> None:
    """Over IPv4, IPv6 and both at once: refused ones are counted and take no place, closed ones give theirs back."""
    if ":" in listens and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    async with serving(echo) as origin, AsyncExitStack() as stack:
        text = document(origin.url, proxy={"maxConnectionsPerIp": 2})
        gateway = await stack.enter_async_context(running_gateway(text, host=listens))

        async def connect() -> RawClient:
            reader, writer = await asyncio.open_connection(comes_from, gateway.port)
            stack.push_async_callback(let_go, writer)
            return RawClient(reader, writer)

        first, second, third, fourth = [await connect() for _ in range(4)]
        assert [await client.whole(get()) is not None for client in (first, second, third, fourth)] == [
            True,
            True,
            False,
            False,
        ]
        assert (await gateway.metrics()).value("connections_refused_total") == 2
        first.abort()

        async def another() -> bool:
            return await (await connect()).whole(get()) is not None

        assert await eventually(another, bool)
        assert await second.whole(get()) is not None


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_pipelining_is_bounded() -> None:
    """Thousands of requests in one write to a hanging origin: only so many are read before the first is answered."""

    async def hangs(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    quick = {"timeout": {"request": 400}}
    async with proxied(hangs, proxy=quick) as (origin, gateway), connected(gateway.port) as client:
        client.writer.write(get() * 50_000)
        await origin.arrived()
        assert (await client.response()).status in (400, 504)


async def test_much_that_is_no_request_is_refused_once() -> None:
    """What follows a refusal is not measured and refused again, however much of it comes at once."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        await client.send(b"2710\r\n" + b"x" * 60_000)
        answered = await client.until_eof()
        counted = (await gateway.metrics()).value("http_requests_total")
    assert (answered.startswith(b"HTTP/1.1 400 "), counted) == (True, 1)
