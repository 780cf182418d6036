"""The two ports of the control plane: bound before anything else is started, and refused in one line."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import grpc
from grpc import aio

from controlplane.auth.grpc_gate import Gate
from controlplane.settings import Settings, is_loopback
from controlplane.start_error import StartError

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


def rest_socket(settings: Settings) -> socket.socket:
    """The REST port, bound and listening; StartError where that is not possible."""
    return _bound(settings.host, settings.port, "REST")


def grpc_server(settings: Settings, gate: Gate) -> tuple[aio.Server, int]:
    """A server without services, and the port that it is bound to; StartError where that is not possible."""
    server = aio.server(options=GRPC_OPTIONS, interceptors=[gate])
    # gRPC says little about why it could not bind, so a plain socket asks first.
    _bound(settings.host, settings.grpc_port, "gRPC").close()
    address = (
        f"[{settings.host}]:{settings.grpc_port}" if ":" in settings.host else f"{settings.host}:{settings.grpc_port}"
    )
    try:
        if settings.grpc_cert is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, _credentials(settings))
    except RuntimeError as error:
        # The port was free just now; what gRPC cannot use is most likely the certificate.
        files = f" with {settings.grpc_cert} and {settings.grpc_key}" if settings.grpc_cert else ""
        raise StartError(f"cannot listen on {address} for gRPC{files}: {error}") from error


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


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    pair = _pem(settings.grpc_key), _pem(settings.grpc_cert)
    authorities = _pem(settings.grpc_client_ca) if settings.grpc_client_ca else None
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


def _pem(path: Path | None) -> bytes:
    if path is None:
        raise StartError("--grpc-cert and --grpc-key go together")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error


def plaintext_warning(settings: Settings) -> str:
    """What an operator should know about a port that others can reach; empty where there is nothing."""
    if settings.grpc_cert is None and not is_loopback(settings.host):
        return "tokens and configuration travel in plain text on the gRPC port: give --grpc-cert and --grpc-key"
    return ""
