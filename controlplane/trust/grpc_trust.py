"""gRPC of enrolment for operators: the verbs of REST over the same register. Who may is in `auth/roles`."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from controlplane.auth.grpc_gate import actor_of
from controlplane.store.database import DatabaseGone
from controlplane.trust.register import TOKEN_SECONDS, Register
from shared.faults import ConfigError
from shared.pb.admin_pb2_grpc import AdminServicer
from shared.pb.enrolment_pb2 import (
    CreateEnrolmentRequest,
    CreateEnrolmentResponse,
    DeleteEnrolmentRequest,
    DeleteEnrolmentResponse,
    Invitation,
    IssuedCertificate,
    ListCertificatesRequest,
    ListCertificatesResponse,
    ListEnrolmentsRequest,
    ListEnrolmentsResponse,
    RevokeCertificateRequest,
)
from shared.timestamp import timestamp

Context = aio.ServicerContext[Any, Any]


class TrustVerbs(AdminServicer):
    """The part of Admin that is about enrolment."""

    def __init__(self, register: Register | None) -> None:
        self._register = register

    async def CreateEnrolment(self, request: CreateEnrolmentRequest, context: Context) -> CreateEnrolmentResponse:
        """The token is in this answer and nowhere else."""
        seconds = request.expires_in if request.HasField("expires_in") else TOKEN_SECONDS
        async with self._answering(context) as register:
            token = await register.invite(actor_of(context), request.node, request.labels, seconds)
            made = Invitation(
                id=token.id,
                node=request.node,
                labels=request.labels,
                state="unused",
                created_by=actor_of(context).name,
                expires_at=timestamp(token.expires),
            )
            fingerprint = register.authority.fingerprint
            return CreateEnrolmentResponse(enrolment=made, token=token.text, fingerprint=fingerprint)

    async def ListEnrolments(self, request: ListEnrolmentsRequest, context: Context) -> ListEnrolmentsResponse:
        async with self._answering(context) as register:
            return ListEnrolmentsResponse(enrolments=await register.enrolments())

    async def DeleteEnrolment(self, request: DeleteEnrolmentRequest, context: Context) -> DeleteEnrolmentResponse:
        async with self._answering(context) as register:
            if not await register.withdraw(actor_of(context), request.id):
                await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no unused enrolment {request.id!r}")
            return DeleteEnrolmentResponse()

    async def ListCertificates(self, request: ListCertificatesRequest, context: Context) -> ListCertificatesResponse:
        async with self._answering(context) as register:
            found = await register.certificates()
            shown = [one for one in found if request.node in {"", one.node}]
            return ListCertificatesResponse(certificates=shown)

    async def RevokeCertificate(self, request: RevokeCertificateRequest, context: Context) -> IssuedCertificate:
        async with self._answering(context) as register:
            revoked = await register.revoke(actor_of(context), request.serial, request.reason)
            if revoked is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no certificate {request.serial!r}")
            return revoked

    @asynccontextmanager
    async def _answering(self, context: Context) -> AsyncIterator[Register]:
        """The register; what goes wrong with it as statuses."""
        if self._register is None:
            reason = "nodes enrol over TLS only: start the control plane with --grpc-tls on"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, reason)
        try:
            yield self._register
        except ConfigError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DatabaseGone as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
