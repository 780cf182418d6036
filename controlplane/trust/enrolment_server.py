"""gRPC `flexgate.v1.Enrolment`: the face of the register towards nodes."""

# ruff: noqa: N802 - gRPC names the methods

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import grpc
from grpc import aio

from controlplane.store.database import DatabaseGone
from controlplane.trust.authority import Issued
from controlplane.trust.callers import Caller, Callers, address_alone
from controlplane.trust.refusal import Refusal
from controlplane.trust.register import Register
from shared.pb.enrolment_pb2 import (
    AuthoritiesRequest,
    AuthoritiesResponse,
    EnrolRequest,
    NodeCertificate,
    RenewRequest,
)
from shared.pb.enrolment_pb2_grpc import EnrolmentServicer

Context = aio.ServicerContext[Any, Any]


class EnrolmentServer(EnrolmentServicer):
    """Only over TLS: a token in plain text would be anybody's."""

    def __init__(self, register: Register, callers: Callers) -> None:
        self._register = register
        self._callers = callers

    async def Authorities(self, request: AuthoritiesRequest, context: Context) -> AuthoritiesResponse:
        return AuthoritiesResponse(authorities=self._register.authority.pem)

    async def Enrol(self, request: EnrolRequest, context: Context) -> NodeCertificate:
        caller = await self._caller(context)
        enrolling = self._register.enrol(
            request.token, request.node, request.signing_request, address_alone(caller.address)
        )
        return await self._answer(enrolling, context)

    async def Renew(self, request: RenewRequest, context: Context) -> NodeCertificate:
        caller = await self._caller(context)
        renewing = self._register.renew(caller.certificate, request.signing_request, address_alone(caller.address))
        return await self._answer(renewing, context)

    async def _caller(self, context: Context) -> Caller:
        caller = self._callers.of(context.peer()) if self._callers.tls else None
        if caller is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "enrolment needs TLS (control plane: --grpc-tls)")
        return caller

    async def _answer(self, issuing: Awaitable[Issued], context: Context) -> NodeCertificate:
        try:
            issued = await issuing
        except Refusal as refusal:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))
        except DatabaseGone as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return NodeCertificate(certificate=issued.pem, authorities=self._register.authority.pem)
