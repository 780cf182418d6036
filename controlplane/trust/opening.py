"""The parts of trust in one control plane, as they belong together: made, served, followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from grpc import aio

from controlplane.certificate import CertificateFiles
from controlplane.listener import GrpcPort, grpc_files, keep_certificate, tls_listener
from controlplane.nodes import Nodes
from controlplane.settings import Settings
from controlplane.start_error import StartError
from controlplane.store.database import Database, DatabaseGone
from controlplane.trust.admission import Admission
from controlplane.trust.authority import Authority, UnusableAuthority
from controlplane.trust.callers import Callers
from controlplane.trust.enrolment_server import EnrolmentServer
from controlplane.trust.register import Audit, Register, kept_authority
from controlplane.trust.tls_listener import TlsListener
from shared.pb.enrolment_pb2_grpc import add_EnrolmentServicer_to_server


@dataclass(frozen=True, slots=True)
class Trust:
    """`register` is None where the gRPC port has no TLS: then no node can enrol."""

    settings: Settings
    callers: Callers
    admission: Admission
    register: Register | None = None
    listener: TlsListener | None = None
    files: CertificateFiles | None = None  # that the port shows; None: one of our own authority

    @property
    def forgetting(self) -> list[Callable[[], Awaitable[None]]]:
        """What removes what was over long ago."""
        return [self.register.forget] if self.register is not None else []

    def add_to(self, server: aio.Server) -> None:
        """Offer enrolment."""
        if self.register is not None:
            add_EnrolmentServicer_to_server(EnrolmentServer(self.register, self.callers), server)

    @asynccontextmanager
    async def serving(self, port: GrpcPort, nodes: Nodes) -> AsyncIterator[None]:
        """Within the block the port speaks TLS, where it is to, and nodes that are no longer trusted are cut off."""
        register, listener = self.register, self.listener
        if register is None or listener is None or port.listening is None:
            yield
            return
        register.on_change(lambda: nodes.cut(self.admission.still))
        await listener.start(port.listening)
        following = asyncio.create_task(register.run())
        renewing = asyncio.create_task(
            self.files.follow(listener.context)
            if self.files is not None
            else keep_certificate(self.settings, listener, register.authority)
        )
        try:
            yield
        finally:
            for task in (following, renewing):
                task.cancel()
            await asyncio.gather(following, renewing, return_exceptions=True)
            await listener.stop()


async def open_trust(settings: Settings, port: GrpcPort, database: Database, audit: Audit) -> Trust:
    """The trust of these settings; StartError where authority or certificate cannot be had."""
    callers = Callers(tls=settings.tls)
    if not settings.tls:
        return Trust(settings, callers, Admission(callers, node_token=settings.node_token))
    register = await _register(settings, database, audit)
    admission = Admission(callers, register, node_token=settings.node_token)
    files = grpc_files(settings)
    listener = tls_listener(settings, port, callers, register.authority, files)
    return Trust(settings, callers, admission, register, listener, files)


async def _register(settings: Settings, database: Database, audit: Audit) -> Register:
    try:
        if settings.ca_cert is not None and settings.ca_key is not None:
            authority = Authority.load(_read(settings.ca_cert), _read(settings.ca_key))
        else:
            authority = await kept_authority(database, audit)
        lifetime = timedelta(seconds=settings.node_certificate_lifetime)
        register = Register(database, authority, audit, lifetime=lifetime)
        await register.refresh()
    except (UnusableAuthority, DatabaseGone) as error:
        raise StartError(str(error)) from error
    return register


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
