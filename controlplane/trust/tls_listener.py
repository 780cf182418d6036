"""TLS on the gRPC port: ends it here, notes who showed which certificate, and passes the bytes on to gRPC on loopback.

gRPC for Python can demand client certificates of everybody or ask nobody. One port has to serve nodes that show one,
nodes that do not have one yet, and operators who never will; so this listener asks, and verifies what it is shown.
Who talks to gRPC around it is a stranger to `Callers`. Docs: docs/decisions/0014-tls-ends-before-grpc.md.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from cryptography import x509

from controlplane.trust.callers import Caller, Callers, Certificate, read

CHUNK = 64 * 1024
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 2.0
"""How long the last bytes of a connection have to get through."""
FILES = 65_536
"""Open files to ask the system for: a connection takes three."""


def server_context(authorities: Iterable[str], *, required: bool) -> ssl.SSLContext:
    """A context that asks for a certificate of these authorities (PEM); ssl.SSLError where they are none.

    It has none of its own yet to show.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    # A resumed session would not show its certificate again, which may be revoked by then.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.load_verify_locations(cadata="\n".join(authorities))
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


class TlsListener:
    """The port. `target` is gRPC's own, on loopback."""

    def __init__(
        self, context: ssl.SSLContext, callers: Callers, target: int, authority: x509.Certificate | None
    ) -> None:
        self.context = context
        self._callers = callers
        self._target = target
        self._authority = authority
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, listening: socket.socket) -> None:
        """Serve on this socket."""
        _allow_files()
        self._server = await asyncio.start_server(
            self._accept, sock=listening, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )

    async def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):  # either end may go at any time; TimeoutError is one
                await self._pass_on(reader, writer)
                writer.close()
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = socket.socket(socket.AF_INET)
        inner.setblocking(False)
        # Its port is known before gRPC hears of the connection.
        inner.bind(("127.0.0.1", 0))
        with self._callers.known(inner.getsockname()[1], self._caller(writer)):
            try:
                await asyncio.get_running_loop().sock_connect(inner, ("127.0.0.1", self._target))
                from_grpc, to_grpc = await asyncio.open_connection(sock=inner)
            except BaseException:
                inner.close()
                raise
            try:
                await _first(_copy(reader, to_grpc), _copy(from_grpc, writer))
            finally:
                to_grpc.transport.abort()

    def _caller(self, writer: asyncio.StreamWriter) -> Caller:
        host, port, *_ = writer.get_extra_info("peername")
        peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
        return Caller(peer, self._certificate(writer))

    def _certificate(self, writer: asyncio.StreamWriter) -> Certificate | None:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return read(der, self._authority) if der else None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what is read; a writer that is slow slows the reader."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _first(*copies: Coroutine[Any, Any, None]) -> None:
    """Until one direction has ended: then the other has nobody to talk to."""
    tasks = [asyncio.create_task(copy) for copy in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _allow_files() -> None:
    """As many open files as the system lets this process have, up to FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
