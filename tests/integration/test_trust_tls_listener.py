"""TLS in front of gRPC: much in both directions, many at once, renewed certificates, and ends of every kind."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from grpc import aio

from controlplane.certificate import show
from controlplane.listener import RENEW_SECONDS, keep_certificate
from controlplane.settings import Settings
from controlplane.trust.authority import Authority, utc_now
from controlplane.trust.callers import Callers
from controlplane.trust.tls_listener import TlsListener, server_context
from dataplane import identity
from shared.node_uri import CONTROL_PLANE, NodeName

MEGABYTE = 1 << 20
OPTIONS = (
    ("grpc.ssl_target_name_override", CONTROL_PLANE),
    ("grpc.max_receive_message_length", 64 * MEGABYTE),
    ("grpc.max_send_message_length", 64 * MEGABYTE),
)


@dataclass
class Echo:
    """A gRPC server behind TLS that sends back what it gets, and says who sent it."""

    port: int
    authority: Authority
    callers: Callers
    listener: TlsListener
    server: aio.Server

    @asynccontextmanager
    async def channel(self, node: str = "") -> AsyncIterator[aio.Channel]:
        """A channel of its own; with the certificate of that node, if it is named."""
        key, certificate = None, None
        if node:
            key, request = identity.request(node)
            certificate = self.authority.sign_node(request, NodeName(node), utc_now(), timedelta(hours=1)).pem
        credentials = grpc.ssl_channel_credentials(
            self.authority.pem.encode(),
            key.encode() if key else None,
            certificate.encode() if certificate else None,
        )
        address = f"127.0.0.1:{self.port}"
        options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        async with aio.secure_channel(address, credentials, options=options) as channel:
            yield channel


async def echo(channel: aio.Channel, data: bytes) -> bytes:
    """What comes back."""
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Echo")
    return await call(data, timeout=20)


async def who(channel: aio.Channel) -> str:
    """Whom the server takes the caller for."""
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Who")
    return (await call(b"", timeout=20)).decode()


@pytest.fixture
async def served() -> AsyncIterator[Echo]:
    """The server, for the length of a test."""
    callers = Callers(tls=True)

    async def repeat(data: bytes, _context: object) -> bytes:
        return data

    async def name(_data: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        caller = callers.of(context.peer())
        certificate = caller.certificate if caller else None
        return (certificate.node.name if certificate and certificate.node else "nobody").encode()

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]]
    methods = {"Echo": grpc.unary_unary_rpc_method_handler(repeat), "Who": grpc.unary_unary_rpc_method_handler(name)}
    server = aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))
    inner = server.add_insecure_port("127.0.0.1:0")
    authority = Authority.create(utc_now())
    context = server_context([authority.pem], required=False)
    show(context, *authority.sign_server([], utc_now()))
    listener = TlsListener(context, callers, inner, authority.certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.start()
        await listener.start(listening)
        yield Echo(listening.getsockname()[1], authority, callers, listener, server)
        await server.stop(0)
        await listener.stop()


async def test_much_in_both_directions(served: Echo) -> None:
    """Large messages on several streams of one connection arrive whole, whoever is slower."""
    data = [bytes([number]) * (4 * MEGABYTE + number) for number in range(8)]
    async with served.channel("a") as channel:
        assert await asyncio.gather(*(echo(channel, one) for one in data)) == data


async def test_each_connection_is_its_own_caller(served: Echo) -> None:
    """Many at once, with certificates and without: nobody is taken for another."""

    async def ask(number: int) -> str:
        async with served.channel(f"node-{number}" if number % 2 else "") as channel:
            return await who(channel)

    found = await asyncio.gather(*(ask(number) for number in range(30)))
    assert found == [f"node-{number}" if number % 2 else "nobody" for number in range(30)]


async def test_what_ends_is_forgotten(served: Echo) -> None:
    """A connection that ended, in order or not, leaves no caller behind, and disturbs no other."""
    async with served.channel("stays") as stays:
        assert await who(stays) == "stays"
        async with served.channel("goes") as goes:
            assert await who(goes) == "goes"
            raw = socket.create_connection(("127.0.0.1", served.port))
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")  # not TLS at all
            raw.close()
        async with asyncio.timeout(5):
            while repr(served.callers) != "<Callers 1>":  # noqa: ASYNC110 - sockets ring no bell here
                await asyncio.sleep(0.001)
        assert await who(stays) == "stays"


async def test_grpc_going_ends_the_connections(served: Echo) -> None:
    """When the server behind stops, clients are told, and do not hang."""
    async with served.channel() as channel:
        assert await echo(channel, b"x") == b"x"
        await served.server.stop(0)
        with pytest.raises(aio.AioRpcError) as error:
            await echo(channel, b"x")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_next_certificate_is_shown_to_new_connections(served: Echo) -> None:
    """When two thirds of its time are over there is a new one; connections that are open go on."""
    pauses: asyncio.Queue[float] = asyncio.Queue()
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await go_on.wait()
        go_on.clear()

    async with served.channel() as channel:
        await echo(channel, b"x")
        before = await shown(served.port)
        keeping = asyncio.create_task(keep_certificate(Settings(), served.listener, served.authority, sleep))
        try:
            assert await pauses.get() == RENEW_SECONDS
            go_on.set()
            await pauses.get()
            after = await shown(served.port)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        assert before.serial_number != after.serial_number
        after.verify_directly_issued_by(served.authority.certificate)
        assert await echo(channel, b"y") == b"y"


async def shown(port: int) -> x509.Certificate:
    """The certificate that a new connection is shown."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode())
