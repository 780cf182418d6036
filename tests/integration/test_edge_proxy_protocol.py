"""A proxy in front that speaks the PROXY protocol: its clients are told apart, and nobody else gets in."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_edge_tls import secured
from tests.property.test_framing import send_in_pieces
from tests.support.certificate import Certificate
from tests.support.client import RawClient, connected, get, post
from tests.support.deadline import DEADLINE, eventually
from tests.support.gateway import Gateway, document, proxied
from tests.support.origin import OK, answering, echo, serving
from tests.support.process import running_process
from tests.unit.test_proxy_protocol import binary, line

ON: dict[str, Any] = {"proxyProtocol": True}
LINE = line("203.0.113.7", "198.51.100.1", 40000, 8443)
BINARY = binary(0x21, 0x11, bytes([203, 0, 113, 7, 198, 51, 100, 1, 0x9C, 0x40, 0x20, 0xFB]) + b"\x04\0\x03abc")
SIX = line("2001:db8::7", "2001:db8::1", 40000, 443)


async def errors(gateway: Gateway, reason: str) -> float:
    return (await gateway.metrics()).value("proxy_protocol_errors_total", reason=reason)


async def expected(gateway: Gateway) -> int:
    """How many connections nobody has announced yet."""
    await gateway.metrics()  # a turn or two of the loop, and real I/O
    return len(gateway.plane.node.listener.expected)


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["version 1", "version 2"])
async def test_the_announced_address_is_the_client_s(header: bytes) -> None:
    """In what the origin is told, for every request of the connection; the port is the one that the client reached."""
    async with proxied(echo, proxy=ON) as (origin, gateway), connected(gateway.port) as client:
        for data in (header + get("/a"), post(b"body", "/b")):
            assert (await client.ask(data, method="GET")).status == 200
            received = origin.last
            assert received.value("x-forwarded-for") == "203.0.113.7"
            assert received.value("x-real-ip") == "203.0.113.7"
            assert received.value("x-forwarded-port") == "8443"
            assert "for=203.0.113.7;" in (received.value("forwarded") or "")


async def test_it_is_the_client_of_limits_and_of_the_log(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each announced address has a limit of its own, and stands in the log."""
    limit = {"rateLimit": {"global": {"max": 1, "windowMs": 60000}}, "logging": {"sampling": {"successRate": 1.0}}}
    async with proxied(answering(OK), proxy=ON, **limit) as (_, gateway):
        statuses = [(await gateway.ask(header + get())).status for header in (LINE, BINARY, SIX, SIX)]
        assert statuses == [200, 429, 200, 429]
    lines = [json.loads(text) for text in capsysbinary.readouterr().out.splitlines() if b"request.completed" in text]
    assert {text["http"]["clientIp"] for text in lines} == {"203.0.113.7", "2001:db8::7"}


async def test_connections_are_counted_by_announced_address() -> None:
    """`maxConnectionsPerIp` is about clients, not about the proxy that all of them come through."""
    async with (
        proxied(answering(OK), proxy={**ON, "maxConnectionsPerIp": 1}) as (_, gateway),
        connected(gateway.port) as one,
        connected(gateway.port) as other,
        connected(gateway.port) as more,
    ):
        assert (await one.ask(LINE + get(), method="GET")).status == 200
        assert (await other.ask(SIX + get(), method="GET")).status == 200
        assert await more.whole(LINE + get()) is None


async def test_trusted_proxies_may_announce_and_others_may_not() -> None:
    """A connection from elsewhere is closed before it has said anything; counted."""
    async with proxied(answering(OK), proxy={**ON, "trustedProxies": ["127.0.0.0/8"]}) as (origin, gateway):
        assert (await gateway.ask(LINE + get())).status == 200
        # The announced client is no trusted proxy: what it says of others does not count.
        assert (await gateway.ask(LINE + get("/", "X-Forwarded-For: 6.6.6.6"))).status == 200
        assert origin.last.value("x-forwarded-for") == "203.0.113.7"
    async with proxied(answering(OK), proxy={**ON, "trustedProxies": ["10.0.0.0/8"]}) as (origin, gateway):
        async with connected(gateway.port) as client:
            assert await client.whole(LINE + get()) is None
        assert origin.received == []
        assert await errors(gateway, "untrusted") == 1


async def test_the_proxy_s_own_connections_are_its_own() -> None:
    """LOCAL and UNKNOWN, such as health checks: served with the connection's own address."""
    async with proxied(echo, proxy=ON) as (origin, gateway):
        for header in (binary(0x20, 0, b""), b"PROXY UNKNOWN\r\n"):
            assert (await gateway.ask(header + get())).status == 200
            assert origin.last.value("x-forwarded-for") == "127.0.0.1"


@pytest.mark.parametrize(
    "data",
    [get(), b"PROXY TCP4 1.2.3.4\r\n" + get(), LINE[:-1] + get(), b"\x16\x03\x01" + bytes(200), binary(0x31, 0, b"")],
    ids=["no header", "too few words", "bare CR", "TLS", "version 3"],
)
async def test_without_a_header_there_is_no_answer(data: bytes) -> None:
    """The connection is closed and counted; not a byte of it is taken as HTTP."""
    async with proxied(answering(OK), proxy=ON) as (origin, gateway):
        async with connected(gateway.port) as client:
            await client.send(data)
            assert await client.closed()
        assert origin.received == []
        assert await errors(gateway, "malformed") == 1
        assert (await gateway.ask(LINE + get())).status == 200


async def test_a_second_header_is_no_request() -> None:
    """Only the first bytes of a connection announce."""
    async with proxied(answering(OK), proxy=ON) as (origin, gateway):
        assert (await gateway.ask(LINE + LINE + get())).status == 400
    assert origin.received == []


@pytest.mark.parametrize("header", [LINE, BINARY], ids=["version 1", "version 2"])
async def test_a_header_may_come_in_pieces(header: bytes) -> None:
    """In single bytes, and with the request behind it cut anywhere."""
    data = header + post(b"body")
    async with proxied(echo, proxy=ON) as (_, gateway):
        for cuts in (list(range(len(data))), [5, len(header)], [len(header) + 3], [len(header) - 1]):
            async with connected(gateway.port) as client:
                await send_in_pieces(client, data, cuts)
                assert (await client.response()).json["body"] == "body"


async def test_a_header_is_waited_for_so_long() -> None:
    """The time for a head; a connection that never said a byte is no error, as load balancers probe ports so."""
    async with proxied(answering(OK), proxy={**ON, "timeout": {"header": 100}}) as (_, gateway):
        async with connected(gateway.port) as silent, connected(gateway.port) as slow:
            await slow.send(LINE[:10])
            assert await slow.closed()
            assert await silent.closed()
        async with connected(gateway.port) as left:
            await left.send(LINE[:10])
            left.half_close()
        await eventually(lambda: errors(gateway, "incomplete"), lambda count: count == 1)
        found = await gateway.metrics()
        assert found.value("proxy_protocol_errors_total") == 2
        assert found.value("proxy_protocol_errors_total", reason="timeout") == 1


async def test_unannounced_connections_count_as_connections() -> None:
    """`maxConnections` bounds them too."""
    async with proxied(answering(OK), proxy={**ON, "maxConnections": 1}) as (_, gateway):
        async with connected(gateway.port), connected(gateway.port) as second:
            assert await second.closed()
        await eventually(gateway.metrics, lambda found: found.value("connections_refused_total") == 1)


async def test_it_is_switched_on_and_off_while_it_serves() -> None:
    """For connections that come after the edit."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(get())).status == 200
        assert (await gateway.ask(LINE + get())).status == 400
        await gateway.reconfigure(document(origin.url, proxy=ON))
        assert (await gateway.ask(LINE + get())).status == 200
        async with connected(gateway.port) as client:
            assert await client.whole(get()) is None
        await gateway.reconfigure(document(origin.url))
        assert (await gateway.ask(get())).status == 200


async def test_a_drain_does_not_wait_for_those_that_say_nothing() -> None:
    """A header on its way gets a moment; then the gateway ends, well before the drain's own limit."""
    on = {**ON, "drainTimeout": 60_000}
    async with proxied(answering(OK), proxy=on) as (_, gateway), connected(gateway.port) as quiet:
        await eventually(lambda: expected(gateway), lambda count: count == 1)
        async with asyncio.timeout(DEADLINE):
            await gateway.plane.stop()
        assert await quiet.closed()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything that is read is written, to the end."""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def announcing(port: int, header: bytes, pieces: list[int]) -> AsyncIterator[int]:
    """A proxy before a port of this machine: its header and the client's first bytes in pieces, then the rest."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", port)
        await send_in_pieces(RawClient(onward_reader, onward), header + await reader.read(1 << 16), pieces)
        await asyncio.gather(pump(reader, onward), pump(onward_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("pieces", [[], [3], [len(BINARY)], [len(BINARY) + 1], list(range(400))])
async def test_the_header_comes_before_tls(tmp_path: Path, pieces: list[int]) -> None:
    """As the protocol has it; whether the handshake begins in the same read or later."""
    own = Certificate(tmp_path, "server")
    tls = {"cert": str(own.cert), "key": str(own.key)}
    async with proxied(echo, proxy={**ON, "tls": tls}) as (origin, gateway):
        async with announcing(gateway.port, BINARY, pieces) as port, secured(port, own) as client:
            for _ in range(2):
                assert (await client.ask(post(b"x" * 100_000))).status == 200
                assert origin.last.value("x-forwarded-for") == "203.0.113.7"
                assert origin.last.value("x-forwarded-proto") == "https"
                assert len(origin.last.body) == 100_000
        async with connected(gateway.port) as plain:
            assert await plain.whole(BINARY + get()) is None
        async with connected(gateway.port) as other:
            assert await other.whole(get()) is None
        await eventually(lambda: expected(gateway), lambda count: count == 0)


async def test_the_data_plane_as_it_is_run(tmp_path: Path) -> None:
    """A process of its own, with the event loop of production: header, then TLS, in one read."""
    own = Certificate(tmp_path, "server")
    tls = {"cert": str(own.cert), "key": str(own.key)}
    async with serving(echo) as origin, running_process(document(origin.url, proxy={**ON, "tls": tls})) as running:
        for pieces in ([], [len(BINARY)], [len(BINARY) + 1], list(range(300))):
            async with announcing(running.port, BINARY, pieces) as port, secured(port, own) as client:
                assert (await client.ask(post(b"x" * 100_000))).status == 200
                assert origin.last.value("x-forwarded-for") == "203.0.113.7"
        async with announcing(running.port, b"", []) as port:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with secured(port, own):
                    pass
        warned = await running.record(lambda record: record.get("event") == "connection.unannounced")
        assert (warned["reason"], warned["peer"]) == ("malformed", "127.0.0.1")


async def test_with_tls_it_is_switched_off_by_an_edit_and_on_by_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Off: handshakes come first from then on. On: told in the log, and until then nobody can claim to be another."""
    own = Certificate(tmp_path, "server")
    tls = {"tls": {"cert": str(own.cert), "key": str(own.key)}}
    async with proxied(echo, proxy={**ON, **tls}) as (origin, gateway):
        await gateway.reconfigure(document(origin.url, proxy=tls))
        async with secured(gateway.port, own) as client:
            assert (await client.ask(get())).status == 200
    assert "listener.restart_needed" not in caplog.text
    async with proxied(echo, proxy=tls) as (origin, gateway):
        await gateway.reconfigure(document(origin.url, proxy={**ON, **tls}))
        assert "listener.restart_needed" in caplog.text
        async with announcing(gateway.port, BINARY, []) as port:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with secured(port, own):
                    pass
    assert len(origin.received) == 0
