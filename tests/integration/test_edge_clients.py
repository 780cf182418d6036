"""Clients that leave, dawdle or flood: the upstream is released, the count is right, memory and time stay bounded."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.client import RawClient, chunked, connected, get, post
from tests.support.gateway import Gateway, proxied
from tests.support.origin import OK, Origin, Peer, answering, echo

QUICK = {"timeout": {"request": 600, "header": 300, "response": 500, "idle": 300}}
MIB = 1024 * 1024


async def hangs(peer: Peer) -> None:
    """An origin that never answers."""
    await peer.request()
    await peer.gone()


async def streams(peer: Peer) -> None:
    """An origin that never stops answering."""
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"10000\r\n" + bytes(65536) + b"\r\n")


async def reads_slowly(peer: Peer) -> None:
    """An origin that takes in a head, and then nothing."""
    await peer.head()
    await stuck.wait()


stuck = asyncio.Event()


async def leave(client: RawClient, how: str) -> None:
    if how == "reset":
        client.abort()
    else:
        client.writer.close()


async def released(origin: Origin, gateway: Gateway) -> None:
    """The upstream connection has ended, nothing is in flight and one 499 is counted."""
    await origin.until(lambda: origin.open == 0, "the upstream to be released")
    found = await gateway.settled()
    assert found.value("http_requests_total", status="499") == 1
    assert found.value("upstream_errors_total") == 0


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_leaving_before_the_answer_cancels_the_upstream(how: str) -> None:
    """The origin need not work for nobody, and is not blamed."""
    async with proxied(hangs) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get())
        await origin.arrived()
        assert (await gateway.metrics()).value("http_requests_in_flight") == 1
        await leave(client, how)
        await released(origin, gateway)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_leaving_within_the_answer_cancels_the_upstream(how: str) -> None:
    """However much of it was still to come."""
    async with proxied(streams) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get())
        await client.head()
        await leave(client, how)
        await released(origin, gateway)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("line", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_leaving_within_the_request_never_completes_it(how: str, line: str) -> None:
    """The origin sees a body that breaks off, not one that ends."""
    async with proxied(answering(OK)) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get("/", line, method="POST") + b"5\r\nhello\r\n")
        await origin.arrived()
        await leave(client, how)
        await released(origin, gateway)
        assert not origin.last.complete


async def test_leaving_with_requests_in_the_queue_drops_them() -> None:
    """What was pipelined behind is not sent for a client that is gone."""
    async with proxied(hangs) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get("/1") + get("/2") + get("/3"))
        await origin.arrived()
        client.abort()
        await origin.until(lambda: origin.open == 0)
        await gateway.settled()
        assert [request.target for request in origin.received] == ["/1"]


async def test_a_reader_that_stops_costs_little_and_is_ended() -> None:
    """An endless answer to a client that reads nothing: the origin is held back, then both are let go."""
    async with proxied(streams, proxy=QUICK) as (origin, gateway):
        async with connected(gateway.port, receive_buffer=4096) as client:
            await client.send(get())
            await client.head()
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio has no public way
            await origin.until(lambda: origin.open == 0, "the stuck exchange to be ended")
            assert origin.peers[0].sent < 16 * MIB  # socket buffers of the kernel included
        await gateway.settled()


async def test_an_origin_that_stops_reading_holds_the_client_back() -> None:
    """An upload is taken from the client only as fast as the origin takes it."""
    async with proxied(reads_slowly, proxy={**QUICK, "maxBodySize": "1gb"}) as (_, gateway):
        async with connected(gateway.port) as client:
            await client.send(get("/", "Content-Length: 1000000000", method="POST"))
            sent = 0
            ending = asyncio.ensure_future(client.response())
            while not ending.done() and sent < 64 * MIB:
                client.writer.write(bytes(MIB))
                sent += MIB
                draining = asyncio.ensure_future(client.writer.drain())
                await asyncio.wait({draining, ending}, return_when=asyncio.FIRST_COMPLETED)
                draining.cancel()
                await asyncio.gather(draining, return_exceptions=True)
            assert (await ending).status == 504
            assert sent < 32 * MIB
        await gateway.settled()


@pytest.mark.parametrize("sent", [b"G", b"GET / HT", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_head_that_does_not_end_is_408(sent: bytes) -> None:
    """Answered, and closed."""
    async with proxied(echo, proxy=QUICK) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(sent, method="GET")
        assert (answer.status, answer.json["error"]) == (408, "Request Timeout")
        assert await client.closed()
        assert origin.connections == 0


async def test_a_head_that_drips_is_408() -> None:
    """The time is for the whole head: a byte now and then does not extend it."""
    async with proxied(echo, proxy=QUICK) as (_, gateway), connected(gateway.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nX-A: ")
        ending = asyncio.ensure_future(client.response())
        for _ in range(40):
            if (await asyncio.wait({ending}, timeout=0.05))[0]:
                break
            client.writer.write(b"a")
        assert (await ending).status == 408


@pytest.mark.parametrize("data", [post(b"x")[:-1], get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhel"])
async def test_a_body_that_stops_is_408(data: bytes) -> None:
    """Answered and closed; the origin sees that the body broke off."""
    async with proxied(echo, proxy=QUICK) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(data)
        assert answer.status == 408
        assert await client.closed()
        await origin.until(lambda: origin.open == 0)
        assert not any(request.complete for request in origin.received)


@pytest.mark.parametrize("first", [b"", get()], ids=["new", "used"])
async def test_an_idle_connection_is_closed_without_a_word(first: bytes) -> None:
    """Nobody asked, so nothing is answered."""
    async with proxied(echo, proxy=QUICK) as (_, gateway), connected(gateway.port) as client:
        if first:
            assert (await client.ask(first)).status == 200
        assert await client.until_eof() == b""
        assert (await gateway.metrics()).value("http_requests_total", status="408") == 0


async def test_the_whole_request_has_a_time_of_its_own() -> None:
    """An answer that goes on and on, each byte in time: cut, or 504 before it began."""

    async def drips(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not (await asyncio.wait({asyncio.ensure_future(peer.gone())}, timeout=0.1))[0]:
            await peer.send(b"a")

    async with proxied(drips, proxy=QUICK) as (origin, gateway), connected(gateway.port) as client:
        assert await client.whole(get()) is None
        await origin.until(lambda: origin.open == 0)

    slow = {"timeout": {"request": 300, "response": 5000}}
    async with proxied(hangs, proxy=slow) as (_, gateway):
        assert (await gateway.ask(get())).status == 504


async def test_a_route_may_have_a_shorter_time() -> None:
    """`timeout` on a route bounds the whole request there."""
    routes = [{"path": "/quick", "timeout": 300}, {"path": "/patient"}]
    async with proxied(hangs, routes=routes) as (_, gateway):
        assert (await gateway.ask(get("/quick"))).status == 504


async def test_a_client_that_half_closes_is_treated_as_gone_or_answered() -> None:
    """Either the answer comes or the connection ends; nothing hangs or leaks."""
    async with proxied(echo) as (_, gateway), connected(gateway.port) as client:
        await client.send(get() + get("/", "Transfer-Encoding: chunked", method="POST") + chunked(b"a")[:-2])
        client.half_close()
        await client.until_eof()
        await gateway.settled()
