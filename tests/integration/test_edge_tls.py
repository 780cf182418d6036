"""TLS on both sides: the listener's own certificate, clients that must show one, and origins that are checked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from dataplane.compile_settings import listener_tls
from dataplane.traffic_tls import TrafficTls
from shared.faults import ConfigError
from shared.pb.resources_pb2 import ListenerTls
from tests.support.certificate import Certificate
from tests.support.client import RawClient, get
from tests.support.deadline import DEADLINE, eventually
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import Origin, Script, answering, echo

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def server(tmp_path: Path) -> Certificate:
    """The certificate of whoever listens."""
    return Certificate(tmp_path, "server")


@pytest.fixture
def caller(tmp_path: Path) -> Certificate:
    """The certificate of a client."""
    return Certificate(tmp_path, "caller")


@asynccontextmanager
async def secured(port: int, trusted: Certificate, own: Certificate | None = None) -> AsyncIterator[RawClient]:
    """A client over TLS that checks whom it speaks to."""
    context = ssl.create_default_context(cafile=trusted.cert)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def secure_origin(script: Script, certificate: Certificate) -> AsyncIterator[Origin]:
    """A scripted origin behind TLS."""
    origin = Origin(script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    listening = await asyncio.start_server(origin.follow, "127.0.0.1", 0, ssl=context)
    origin.port = listening.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        listening.close()
        await origin.stop()


async def test_the_listener_speaks_tls(server: Certificate) -> None:
    """Requests over TLS are served, several on one connection, and the origin learns that they were."""
    tls = {"cert": str(server.cert), "key": str(server.key)}
    async with proxied(echo, proxy={"tls": tls}) as (origin, gateway), secured(gateway.port, server) as client:
        for _ in range(2):
            answer = await client.ask(get())
            assert (answer.status, origin.last.value("x-forwarded-proto")) == (200, "https")


async def test_plain_http_on_a_tls_port_gets_no_answer(server: Certificate) -> None:
    """It is no handshake: the connection ends, and the port goes on serving others."""
    tls = {"cert": str(server.cert), "key": str(server.key)}
    async with proxied(echo, proxy={"tls": tls}) as (_, gateway):
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(get())
            assert b"200" not in await reader.read()
            writer.close()
        async with secured(gateway.port, server) as client:
            assert (await client.ask(get())).status == 200


async def test_a_client_must_show_its_certificate(server: Certificate, caller: Certificate) -> None:
    """With `clientCa` those with one of that authority are served, and nobody else."""
    tls = {"cert": str(server.cert), "key": str(server.key), "clientCa": str(caller.cert)}
    async with proxied(echo, proxy={"tls": tls}) as (origin, gateway):
        async with secured(gateway.port, server, caller) as client:
            assert (await client.ask(get())).status == 200
        with suppress(ssl.SSLError):  # how the refusal shows depends on the version of TLS
            async with secured(gateway.port, server) as stranger:
                assert await stranger.whole(get()) is None
        assert len(origin.received) == 1


@pytest.mark.parametrize(("trust", "result"), [("origin", "success"), ("nobody", "failure"), ("anyone", "success")])
async def test_a_probe_checks_its_origin(server: Certificate, trust: str, result: str) -> None:
    """By the same rules as a request."""
    rules = {"origin": {"ca": str(server.cert)}, "nobody": {}, "anyone": {"verify": False}}[trust]
    async with secure_origin(answering(OK), server) as origin:
        upstream = {"healthCheck": {"interval": 100}} | ({"tls": rules} if rules else {})
        async with running_gateway(document(f"https://127.0.0.1:{origin.port}", upstream=upstream)) as gateway:
            metrics = await eventually(gateway.metrics, lambda found: found.value("health_checks_total") > 0)
            assert metrics.labels("health_checks_total", "result") == {"success", "failure"}
            assert metrics.value("health_checks_total", result=result) > 0
            assert bool(origin.received) == (result == "success")


@pytest.mark.parametrize(("trust", "status"), [("origin", 200), ("nobody", 502), ("anyone", 200)])
async def test_an_origin_is_checked(server: Certificate, trust: str, status: int) -> None:
    """By the system's authorities unless `tls.ca` names another; `verify: false` is the only way around it."""
    rules = {"origin": {"ca": str(server.cert)}, "nobody": {}, "anyone": {"verify": False}}[trust]
    async with secure_origin(answering(OK), server) as origin:
        text = document(f"https://127.0.0.1:{origin.port}", upstream={"tls": rules} if rules else {})
        async with running_gateway(text) as gateway:
            answer = await gateway.ask(get())
            assert answer.status == status
            assert len(origin.received) == (status == 200)
            if status == 502:
                assert str(origin.port) not in json.dumps(answer.json)


async def test_a_renewed_certificate_is_shown(tmp_path: Path, server: Certificate) -> None:
    """Without a restart: new connections see it, and one that was open goes on."""
    renewed, tls = Certificate(tmp_path, "renewed"), {"cert": str(server.cert), "key": str(server.key)}
    async with proxied(echo, proxy={"tls": tls}) as (_, gateway), secured(gateway.port, server) as early:
        assert (await early.ask(get())).status == 200
        server.become(renewed)
        await eventually(lambda: _shown(gateway.port), lambda pem: pem == renewed.cert.read_text())
        async with secured(gateway.port, renewed) as late:
            assert [(await client.ask(get())).status for client in (early, late)] == [200, 200]


async def test_half_a_renewal_changes_nothing(
    tmp_path: Path, server: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate without its key, or a file that is gone, is told once, and what was shown is shown on."""
    renewed = Certificate(tmp_path, "renewed")
    files = TrafficTls(ListenerTls(cert=str(server.cert), key=str(server.key)))
    server.cert.write_bytes(renewed.cert.read_bytes())
    for _ in range(3):
        await files.look()
    server.key.unlink()
    for _ in range(3):
        await files.look()
    told = [record.fields["reason"] for record in caplog.records if record.getMessage() == "listener.certificate"]  # type: ignore[attr-defined]  # of shared.log
    assert len(told) == 2
    assert all(str(server.key) in reason for reason in told)
    server.key.write_bytes(renewed.key.read_bytes())
    await files.look()
    assert "listener.certificate_changed" in caplog.messages


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """At once: nobody is asked for it at a terminal."""
    locked = Certificate(tmp_path, "locked", passphrase=b"secret")
    with pytest.raises(ConfigError, match=r"locked\.key cannot be used"):
        listener_tls(ListenerTls(cert=str(locked.cert), key=str(locked.key)))


async def _shown(port: int) -> str:
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
