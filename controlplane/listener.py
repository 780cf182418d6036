"""The two ports of the control plane: bound before anything else is started, and refused in one line."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from grpc import aio

from controlplane.auth.address import is_loopback
from controlplane.auth.grpc_gate import Gate
from controlplane.certificate import CertificateFiles, read_pem, show, told
from controlplane.settings import Settings
from controlplane.start_error import StartError
from controlplane.trust.authority import SERVER_DAYS, Authority
from controlplane.trust.callers import Callers
from controlplane.trust.tls_listener import TlsListener, server_context

MESSAGE_BYTES = 16 * 1024 * 1024
"""What one gRPC message may bring: a telemetry batch of 10 000 busy routes is about 3 MiB."""

GRPC_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second control plane would bind the same port and share its streams
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # nodes may ping as often as this
    ("grpc.keepalive_permit_without_calls", 1),
)


RENEW_SECONDS = SERVER_DAYS * 86_400 * 2 / 3
"""When the control plane gives itself the next certificate."""


@dataclass(frozen=True, slots=True)
class GrpcPort:
    """A server without services. With TLS, `listening` is the port, and `inner` is gRPC's own on loopback."""

    server: aio.Server
    port: int
    listening: socket.socket | None = None
    inner: int = 0

    def close(self) -> None:
        """Free the port."""
        if self.listening is not None:
            self.listening.close()


def rest_socket(settings: Settings) -> socket.socket:
    """The REST port, bound and listening; StartError where that is not possible."""
    return _bound(settings.host, settings.port, "REST")


def grpc_port(settings: Settings, gate: Gate) -> GrpcPort:
    """The gRPC port, bound; StartError where that is not possible."""
    server = aio.server(options=GRPC_OPTIONS, interceptors=[gate])
    # gRPC says little about why it could not bind, so a plain socket asks first.
    bound = _bound(settings.host, settings.grpc_port, "gRPC")
    if settings.tls:
        port: int = bound.getsockname()[1]
        return GrpcPort(server, port, bound, server.add_insecure_port("127.0.0.1:0"))
    bound.close()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        return GrpcPort(server, server.add_insecure_port(f"{host}:{settings.grpc_port}"))
    except RuntimeError as error:
        raise StartError(f"cannot listen on {host}:{settings.grpc_port} for gRPC: {error}") from error


@dataclass(frozen=True, slots=True)
class RestTls:
    """What the REST port speaks: without a context, plain HTTP."""

    files: CertificateFiles | None = None
    context: ssl.SSLContext | None = None

    @property
    def jobs(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What runs while the port is served."""
        if self.files is None or self.context is None:
            return []
        return [partial(self.files.follow, self.context)]


def rest_tls(settings: Settings) -> RestTls:
    """The TLS of the REST port; StartError where the certificate cannot be used."""
    if settings.rest_cert is None or settings.rest_key is None:
        return RestTls()
    files = CertificateFiles(settings.rest_cert, settings.rest_key, "REST")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    files.show(context)
    return RestTls(files, context)


def grpc_files(settings: Settings) -> CertificateFiles | None:
    """The operator's certificate of the gRPC port; None: it has one of our own authority, or no TLS."""
    if settings.grpc_cert is None or settings.grpc_key is None:
        return None
    return CertificateFiles(settings.grpc_cert, settings.grpc_key, "gRPC")


def tls_listener(
    settings: Settings, port: GrpcPort, callers: Callers, authority: Authority, files: CertificateFiles | None
) -> TlsListener:
    """What serves the gRPC port with TLS; StartError where the certificate cannot be used."""
    authorities = [authority.pem]
    if settings.grpc_client_ca is not None:
        authorities.append(read_pem(settings.grpc_client_ca))
    try:
        context = server_context(authorities, required=settings.grpc_client_ca is not None)
    except ssl.SSLError as error:
        raise StartError(f"{settings.grpc_client_ca} holds no authority of clients: {told(error)}") from error
    if files is not None:
        files.show(context)
    else:
        show(context, *_own(settings, authority))
    return TlsListener(context, callers, port.inner, authority.certificate)


async def keep_certificate(
    settings: Settings,
    listener: TlsListener,
    authority: Authority,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Show a new certificate of our own authority before the old one is over, until cancelled."""
    while True:
        await sleep(RENEW_SECONDS)
        show(listener.context, *_own(settings, authority))


def _own(settings: Settings, authority: Authority) -> tuple[str, str]:
    """(certificate, key) of the gRPC port, new, of our own authority."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *settings.grpc_names]
    return authority.sign_server(names, datetime.now(UTC))


def _bound(host: str, port: int, purpose: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on {host} for {purpose}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        taken = "; is another control plane running?" if error.errno == errno.EADDRINUSE else ""
        reason = os.strerror(error.errno or 0).lower()
        raise StartError(f"cannot listen on {host}:{port} for {purpose}: {reason}{taken}") from error
    return bound


def plaintext_warnings(settings: Settings) -> Iterator[str]:
    """What an operator should know about ports that others can reach; nothing where all is well."""
    if is_loopback(settings.host):
        return
    if not settings.tls:
        yield "tokens and configuration travel in plain text on the gRPC port: give --grpc-tls on, or --grpc-cert"
    # Who says that browsers come by https has something in front that ends TLS.
    if settings.rest_cert is None and not settings.public_url.startswith("https:"):
        yield (
            "tokens and passwords travel in plain text on the REST port: give --rest-cert, or end TLS in front of it "
            "and say so with --public-url https://..."
        )
