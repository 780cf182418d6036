"""Whether a caller may talk as a node, and what is true of that node whatever it says.

| it shows | it may be | its labels |
|---|---|---|
| a certificate of ours | the node that the certificate names, and its workers | those of the certificate |
| a certificate of the operator's authority | the node that it names, or any | of the certificate, or as it says |
| the shared node token | any node that has no certificate of ours | as it says |
| nothing, without a token set and without TLS | the same | as it says |
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from controlplane.trust.callers import Callers, Certificate
from controlplane.trust.refusal import Refusal
from controlplane.trust.register import Register


class NotAdmitted(Refusal):
    """Why a caller is not let in as this node. `code` is UNAUTHENTICATED or PERMISSION_DENIED."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Admitted:
    """`labels` None: those that the node claims count. `serial` "": it showed no certificate of ours."""

    address: str
    labels: Mapping[str, str] | None = None
    serial: str = ""
    not_after: float = float("inf")  # epoch seconds


class Admission:
    """The gate of the stream and of telemetry. Without a register only the shared token counts."""

    def __init__(self, callers: Callers, register: Register | None = None, *, node_token: str = "") -> None:
        self._callers = callers
        self._register = register
        self._node_token = node_token

    def admit(self, context: aio.ServicerContext[Any, Any], node_id: str | None) -> Admitted:
        """What is true of the caller; NotAdmitted where it may not talk as this node (None: as none at all)."""
        caller = self._callers.of(context.peer())
        if caller is None:
            raise NotAdmitted(grpc.StatusCode.UNAUTHENTICATED, "this port is not for callers; use the one with TLS")
        certificate = caller.certificate
        if certificate is not None and certificate.ours:
            return self._with_ours(certificate, node_id, caller.address)
        if self._node_token:
            if not bears(context, self._node_token):
                reason = "this needs the node token as a bearer token (data plane: --node-token)"
                raise NotAdmitted(grpc.StatusCode.UNAUTHENTICATED, reason)
        elif certificate is None and self._callers.tls:
            reason = "this needs a certificate: start the data plane with an enrolment token (--enrol-token)"
            raise NotAdmitted(grpc.StatusCode.UNAUTHENTICATED, reason)
        if certificate is not None and certificate.node is not None:
            self._covered(certificate, node_id)
            return Admitted(caller.address, certificate.node.labels or None)
        if self._register is not None and node_id is not None and self._enrolled(node_id):
            reason = f"node {node_id!r} is enrolled: only its certificate opens its stream"
            raise NotAdmitted(grpc.StatusCode.PERMISSION_DENIED, reason)
        return Admitted(caller.address)

    def still(self, admitted: Admitted) -> str:
        """Why a caller that was let in must go; "" where it may stay."""
        if not admitted.serial or self._register is None:
            return ""
        if admitted.serial in self._register.known.revoked:
            return f"the certificate {admitted.serial} is revoked"
        if self._register.now >= admitted.not_after:
            return f"the certificate {admitted.serial} has expired; come back with the one that replaces it"
        return ""

    def _with_ours(self, certificate: Certificate, node_id: str | None, address: str) -> Admitted:
        if certificate.node is None:
            raise NotAdmitted(grpc.StatusCode.PERMISSION_DENIED, "the certificate names no node")
        self._covered(certificate, node_id)
        admitted = Admitted(address, certificate.node.labels, certificate.serial, certificate.not_after)
        if reason := self.still(admitted):
            raise NotAdmitted(grpc.StatusCode.UNAUTHENTICATED, reason)
        return admitted

    @staticmethod
    def _covered(certificate: Certificate, node_id: str | None) -> None:
        if certificate.node is not None and node_id is not None and not certificate.node.covers(node_id):
            reason = f"the certificate is of node {certificate.node.name!r}, not of {node_id!r}"
            raise NotAdmitted(grpc.StatusCode.PERMISSION_DENIED, reason)

    def _enrolled(self, node_id: str) -> bool:
        assert self._register is not None
        names = self._register.known.enrolled
        return node_id in names or node_id.rpartition("/")[0] in names


def bears(context: aio.ServicerContext[Any, Any], token: str) -> bool:
    """Whether a call carries this bearer token, compared in constant time."""
    values = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
    if len(values) != 1 or not isinstance(values[0], str):
        return False
    scheme, _, given = values[0].partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
