"""SIGTERM: readiness first, then no new connections, then idle ones end, and what is in flight is finished."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.support.client import ask, connected, get
from tests.support.deadline import eventually
from tests.support.gateway import document
from tests.support.origin import OK, Peer, echo, serving
from tests.support.process import running_process

AT_ONCE = ("--drain-delay", "0")
QUICK = {"drainTimeout": 5000}


async def accepts(port: int) -> bool:
    """Whether a new connection is taken and served."""
    try:
        async with connected(port) as client:
            return await client.whole(get()) is not None
    except ConnectionError:
        return False


async def test_a_drain_loses_no_request() -> None:
    """In-flight requests are answered whole, with word that the connection ends; the exit code is 0."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while received := await peer.request():
            if received.target == "/slow":
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
                await release.wait()
                await peer.send(b"half")
            elif received.target == "/waiting":
                await release.wait()
                await peer.send(OK)
            else:
                await peer.send(OK)

    async with (
        serving(script) as origin,
        running_process(document(origin.url, proxy=QUICK), *AT_ONCE) as node,
    ):
        async with (
            connected(node.port) as slow,
            connected(node.port) as waiting,
            connected(node.port) as idle,
            connected(node.port) as fresh,
        ):
            await idle.ask(get())
            await slow.send(get("/slow"))
            await slow.head()
            await waiting.send(get("/waiting"))
            await origin.arrived(3)

            node.signal(signal.SIGTERM)
            assert await idle.closed()
            assert await fresh.closed()
            assert not await eventually(lambda: accepts(node.port), lambda accepted: not accepted)
            ready = await ask(node.admin_port, get("/health/ready"))
            assert (ready.status, ready.json["status"]) == (503, "DOWN")
            assert (await ask(node.admin_port, get("/health/live"))).status == 200

            release.set()
            assert await slow.until_eof() == b"halfhalf"
            answer = await waiting.response()
            assert (answer.status, answer.body, answer.value("connection")) == (200, b"ok", "close")
            assert await waiting.closed()
        assert await node.ended() == 0


async def test_readiness_flips_before_connections_are_refused() -> None:
    """During the drain delay whoever balances sees 503, and whoever comes all the same is served."""
    flags = ("--drain-delay", "2")
    async with serving(echo) as origin, running_process(document(origin.url, proxy=QUICK), *flags) as node:
        node.signal(signal.SIGTERM)
        await eventually(lambda: ask(node.admin_port, get("/health/ready")), lambda answer: answer.status == 503)
        answer = await ask(node.port, get())
        assert (answer.status, answer.value("connection")) == (200, "close")
        assert await node.ended() == 0


async def test_a_probe_that_is_told_to_wait_is_no_failure() -> None:
    """503 from /health/ready on the traffic port is a word about this node: no event says that a request failed."""
    flags = ("--drain-delay", "2")
    async with serving(echo) as origin, running_process(document(origin.url, proxy=QUICK), *flags) as node:
        node.signal(signal.SIGTERM)
        await eventually(lambda: ask(node.port, get("/health/ready")), lambda answer: answer.status == 503)
        assert (await ask(node.admin_port, get("/events?name=request.error"))).json["events"] == []
        assert await node.ended() == 0


async def test_a_request_that_never_ends_does_not_hold_a_drain() -> None:
    """After `drainTimeout` it is cut, and the process still ends by itself."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    proxy = {"drainTimeout": 300}
    async with serving(script) as origin, running_process(document(origin.url, proxy=proxy), *AT_ONCE) as node:
        async with connected(node.port) as client:
            await client.send(get())
            await origin.arrived()
            node.signal(signal.SIGTERM)
            assert await client.whole(b"") is None
        assert await node.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_process_ends_at_once(number: signal.Signals) -> None:
    """Nothing to wait for, nothing waited for."""
    async with serving(echo) as origin, running_process(document(origin.url), *AT_ONCE) as node:
        node.signal(number)
        assert await node.ended() == 0
        assert [record["event"] for record in node.records][-1] == "stopped"


async def test_a_tunnel_is_closed_by_a_drain() -> None:
    """It would never end by itself; it is closed within the drain timeout, and not cut."""

    async def script(peer: Peer) -> None:
        if await peer.head():
            await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            await peer.gone()

    proxy = {"drainTimeout": 1000}
    async with (
        serving(script) as origin,
        running_process(document(origin.url, proxy=proxy), *AT_ONCE) as node,
    ):
        async with connected(node.port) as client:
            await client.send(get("/", "Connection: upgrade", "Upgrade: x"))
            assert (await client.response()).status == 101
            node.signal(signal.SIGTERM)
            assert await client.until_eof() == b""
        assert await node.ended() == 0
        assert "drain.timeout" not in [record["event"] for record in node.records]
