"""Tunnels: after an upgrade both sides own the bytes; until then, and when it is refused, it is HTTP as ever."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp import ClientSession, WSMsgType, web

from tests.support.client import RawClient, connected, get
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, Peer, echo

ASKING = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: a2V5",
    "Sec-WebSocket-Version: 13",
]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
MIB = 1024 * 1024


async def parrot(peer: Peer) -> None:
    """Switches, then sends every byte back until the other side ends, and says so before it ends as well."""
    if await peer.head():
        await peer.send(SWITCH)
        while data := await peer.reader.read(65536):
            await peer.send(data)
        await peer.send(b"bye")


async def switched(client: RawClient, *early: bytes) -> None:
    await client.send(get("/ws", *ASKING) + b"".join(early))
    answer = await client.response()
    assert answer.status == 101
    assert (answer.value("upgrade"), (answer.value("connection") or "").lower()) == ("websocket", "upgrade")
    assert answer.value("sec-websocket-accept") == "x"


async def test_bytes_go_both_ways_after_the_switch() -> None:
    """Whatever they are: nothing in the tunnel is read as HTTP; the handshake's fields arrive."""
    async with proxied(parrot) as (origin, gateway), connected(gateway.port) as client:
        await switched(client)
        for data in (b"\0\xff", get("/not-a-request"), b"x" * 100_000):
            await client.send(data)
            assert await client.exactly(len(data)) == data
        head = origin.last
        assert ((head.value("upgrade") or "").lower(), (head.value("connection") or "").lower()) == (
            "websocket",
            "upgrade",
        )
        assert head.value("sec-websocket-key") == "a2V5"


async def test_early_bytes_are_not_lost() -> None:
    """The client's that came with its request, and the origin's that came with its answer."""

    async def script(peer: Peer) -> None:
        if await peer.head():
            await peer.send(SWITCH + b"hello from the origin")
            assert await peer.reader.readexactly(5) == b"early"
            await peer.send(b"seen")
            await peer.gone()

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        await switched(client, b"early")
        assert await client.exactly(25) == b"hello from the originseen"


async def test_megabytes_go_through_unchanged() -> None:
    """With neither side outrunning the other's buffers."""
    async with proxied(parrot) as (_, gateway), connected(gateway.port) as client:
        await switched(client)
        block = bytes(range(256)) * (MIB // 256)
        for _ in range(4):
            client.writer.write(block)
            assert await client.exactly(MIB) == block


async def test_the_end_of_one_side_reaches_the_other() -> None:
    """A half-close passes through, and the answer to it comes back before the end."""
    async with proxied(parrot) as (origin, gateway), connected(gateway.port) as client:
        await switched(client)
        await client.send(b"last")
        client.half_close()
        assert await client.until_eof() == b"lastbye"
        await origin.until(lambda: origin.open == 0)
        await gateway.settled()


async def test_a_client_that_vanishes_ends_the_tunnel() -> None:
    """The origin's side is closed and nothing stays in flight."""
    async with proxied(parrot) as (origin, gateway), connected(gateway.port) as client:
        await switched(client)
        client.abort()
        await origin.until(lambda: origin.open == 0)
        await gateway.settled()


async def test_an_origin_that_vanishes_ends_the_tunnel() -> None:
    """The client's side is closed."""

    async def script(peer: Peer) -> None:
        if await peer.head():
            await peer.send(SWITCH)
            await peer.reader.read(1)
            peer.reset()

    async with proxied(script) as (_, gateway), connected(gateway.port) as client:
        await switched(client)
        await client.send(b"x")
        assert await client.closed()
        await gateway.settled()


async def test_a_silent_tunnel_ends() -> None:
    """After the idle timeout, with nothing left in flight."""
    async with (
        proxied(parrot, proxy={"timeout": {"idle": 300}}) as (origin, gateway),
        connected(gateway.port) as client,
    ):
        await switched(client)
        await client.until_eof()
        await origin.until(lambda: origin.open == 0)
        await gateway.settled()


async def test_a_tunnel_outlives_the_request_timeout() -> None:
    """The time for a whole request ends where the tunnel begins."""

    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await parrot(peer)
        else:
            await peer.request()
            await peer.gone()

    times = {"timeout": {"request": 300, "idle": 5000}}
    async with proxied(script, proxy=times) as (_, gateway), connected(gateway.port) as client:
        await switched(client)
        assert (await gateway.ask(get("/slow"))).status == 504  # a request that began later is out of time by now
        await client.send(b"still here")
        assert await client.exactly(10) == b"still here"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", OK], ids=["403", "200"])
async def test_a_refused_upgrade_is_an_ordinary_answer(answer: bytes) -> None:
    """It is relayed, and the connection carries on with what the client sent meanwhile."""

    async def script(peer: Peer) -> None:
        while received := await peer.request():
            await peer.send(answer if received.target == "/ws" else OK)

    async with proxied(script) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get("/ws", *ASKING) + get("/next"))
        first = await client.response()
        assert (first.status, first.body) in ((403, b"no"), (200, b"ok"))
        if first.value("connection") != "close":
            assert (await client.response()).body == b"ok"
            assert origin.last.target == "/next"
            assert (await client.ask(get("/third"))).status == 200


NOT_UPGRADES = {
    "POST": get("/", *ASKING, "Content-Length: 2", method="POST") + b"hi",
    "GET with a body": get("/", *ASKING, "Content-Length: 2") + b"hi",
    "GET with chunks": get("/", *ASKING, "Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n\r\n",
    "HTTP/1.0": get("/", *ASKING, version="1.0"),
    "unnamed in Connection": get("/", *ASKING[1:]),
    "HTTP/2": get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "no protocol": get("/", "Connection: Upgrade", "Upgrade:"),
}


@pytest.mark.parametrize("data", NOT_UPGRADES.values(), ids=NOT_UPGRADES)
async def test_only_a_plain_get_upgrades(data: bytes) -> None:
    """Anything else is an ordinary request, forwarded without Upgrade, and HTTP follows it."""
    async with proxied(echo) as (origin, gateway), connected(gateway.port) as client:
        answer = await client.ask(data)
        assert (answer.status, answer.json["body"]) == (200, "hi" if b"hi" in data else "")
        assert origin.last.values("upgrade") == []
        assert "upgrade" not in (origin.last.value("connection") or "").lower()
        if b"HTTP/1.0" not in data:
            assert (await client.ask(get("/next"))).json["target"] == "/next"


async def test_filters_come_before_the_switch() -> None:
    """An upgrade without the key that its route wants is 401."""
    security = {"auth": {"type": "apiKey", "keys": [{"key": hashlib.sha256(b"s").hexdigest(), "name": "n"}]}}
    async with proxied(parrot, route={"auth": "required"}, security=security) as (origin, gateway):
        assert (await gateway.ask(get("/ws", *ASKING))).status == 401
        assert origin.received == []


async def test_a_tunnel_survives_a_new_configuration() -> None:
    """Also one that no longer has its route."""
    async with proxied(parrot) as (origin, gateway), connected(gateway.port) as client:
        await switched(client)
        await gateway.reconfigure(document(origin.url, routes=[{"path": "/other"}]))
        assert (await gateway.ask(get("/ws"))).status == 404
        await client.send(b"still here")
        assert await client.exactly(10) == b"still here"


async def test_a_real_websocket_works() -> None:
    """aiohttp's client and server speak through the gateway: text, binary, ping and the closing handshake."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with running_gateway(document(f"http://127.0.0.1:{runner.addresses[0][1]}")) as gateway:
            async with ClientSession() as session, session.ws_connect(f"{gateway.url}/ws", compress=15) as socket:
                await socket.send_str("hello" * 1000)
                assert await socket.receive_str() == "HELLO" * 1000
                await socket.send_bytes(b"abc")
                assert await socket.receive_bytes() == b"cba"
                await socket.ping()
                await socket.close(code=1000)
                assert socket.close_code == 1000
            await gateway.settled()
    finally:
        await runner.cleanup()


async def test_a_tunnel_uses_its_connection_up() -> None:
    """A kept connection serves an upgrade; after a tunnel none is used again."""
    async with proxied(parrot) as (origin, gateway):
        for _ in range(2):
            async with connected(gateway.port) as client:
                await switched(client)
        await origin.until(lambda: origin.open == 0)
        assert origin.connections == 2
