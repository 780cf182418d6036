"""The two ports of the control plane: bound before anything else is started, and refused in one line."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from grpc import aio

from controlplane.auth.grpc_gate import Gate
from controlplane.settings import Settings, is_loopback
from controlplane.start_error import StartError
from controlplane.trust.authority import SERVER_DAYS, Authority
from controlplane.trust.callers import Callers
from controlplane.trust.tls_listener import TlsListener, server_context, show
from shared import log

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


def tls_listener(settings: Settings, port: GrpcPort, callers: Callers, authority: Authority) -> TlsListener:
    """What serves the gRPC port with TLS; StartError where the certificate cannot be used."""
    files = [authority.pem]
    if settings.grpc_client_ca is not None:
        files.append(_pem(settings.grpc_client_ca))
    certificate, key = _identity(settings, authority)
    try:
        context = server_context(certificate, key, files, required=settings.grpc_client_ca is not None)
    except ssl.SSLError as error:
        where = f"{settings.grpc_cert} and {settings.grpc_key}" if settings.grpc_cert else "its own certificate"
        raise StartError(f"cannot speak TLS on the gRPC port with {where}: {error.reason or error}") from error
    return TlsListener(context, callers, port.inner, authority.certificate)


async def keep_certificate(
    settings: Settings,
    listener: TlsListener,
    authority: Authority,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Show a new certificate before the old one is over, until cancelled; files are read again."""
    while True:
        await sleep(RENEW_SECONDS)
        try:
            show(listener.context, *_identity(settings, authority))
        except (StartError, ssl.SSLError) as error:
            log.error("listener.certificate", reason=str(error))


def _identity(settings: Settings, authority: Authority) -> tuple[str, str]:
    """(certificate, key) of the gRPC port: the operator's, else a new one of our own authority."""
    if settings.grpc_cert is not None and settings.grpc_key is not None:
        return _pem(settings.grpc_cert), _pem(settings.grpc_key)
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


def _pem(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is no PEM file") from error


def plaintext_warning(settings: Settings) -> str:
    """What an operator should know about a port that others can reach; empty where there is nothing."""
    if not settings.tls and not is_loopback(settings.host):
        return "tokens and configuration travel in plain text on the gRPC port: give --grpc-tls on, or --grpc-cert"
    return ""
