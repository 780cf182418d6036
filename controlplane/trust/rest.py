"""REST of enrolment: the authority, tokens for new nodes, and the certificates that were given.

Thin over the register; docs/reference/rest.md has the shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from aiohttp import web
from google.protobuf.message import Message

from controlplane.auth.gate import actor_of
from controlplane.auth.messages import parsed, shown
from controlplane.fault_text import fields_of
from controlplane.listing import page
from controlplane.problem import Problem, json_response
from controlplane.store.database import DatabaseGone
from controlplane.trust.register import TOKEN_SECONDS, Register
from shared.faults import ConfigError
from shared.pb.enrolment_pb2 import CreateEnrolmentRequest, RevokeCertificateRequest
from shared.timestamp import timestamp


class NodeTrust:
    """The handlers. Without a register (no TLS) there is nothing to enrol with."""

    def __init__(self, register: Register | None) -> None:
        self._register = register

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get("/api/nodes/authority", self.authority),
            web.get("/api/nodes/enrolments", self.enrolments),
            web.post("/api/nodes/enrolments", self.invite),
            web.delete("/api/nodes/enrolments/{id}", self.withdraw),
            web.get("/api/nodes/certificates", self.certificates),
            web.post("/api/nodes/certificates/{id}/revoke", self.revoke),
        ]

    @property
    def register(self) -> Register:
        """The register, where there is one."""
        if self._register is None:
            raise Problem(409, "nodes enrol over TLS only: start the control plane with --grpc-tls on")
        return self._register

    async def authority(self, _request: web.Request) -> web.Response:
        """What nodes are given to know this control plane by."""
        authority = self.register.authority
        until = authority.certificate.not_valid_after_utc.timestamp()
        body = {"fingerprint": authority.fingerprint, "certificate": authority.pem, "notAfter": timestamp(until)}
        return json_response(body)

    async def enrolments(self, request: web.Request) -> web.Response:
        """All tokens that are remembered, without their text."""
        with _answering():
            found = await self.register.enrolments()
        return _listed("enrolments", found, request, ("id", "node", "state", "usedBy"))

    async def invite(self, request: web.Request) -> web.Response:
        """A new token; its text is in this answer and nowhere else."""
        register = self.register
        asked = await parsed(request, CreateEnrolmentRequest())
        seconds = asked.expires_in if asked.HasField("expires_in") else TOKEN_SECONDS
        with _answering():
            token = await register.invite(actor_of(request), asked.node, asked.labels, seconds)
        answer = {
            "id": token.id,
            "token": token.text,
            "node": asked.node,
            "labels": dict(asked.labels),
            "expiresAt": timestamp(token.expires),
            "fingerprint": register.authority.fingerprint,
        }
        return json_response(answer, 201)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Make a token useless that was not used yet."""
        id_ = request.match_info["id"]
        with _answering():
            if not await self.register.withdraw(actor_of(request), id_):
                raise Problem(404, f"there is no unused enrolment {id_!r}")
        return web.Response(status=204)

    async def certificates(self, request: web.Request) -> web.Response:
        """All certificates that are remembered."""
        with _answering():
            found = await self.register.certificates()
        return _listed("certificates", found, request, ("serial", "node", "state", "enrolment"))

    async def revoke(self, request: web.Request) -> web.Response:
        """End the streams of the node with this certificate, and let nobody in with it again."""
        register, serial = self.register, request.match_info["id"]
        asked = RevokeCertificateRequest()
        if request.can_read_body:
            asked = await parsed(request, asked, "serial")
        with _answering():
            revoked = await register.revoke(actor_of(request), serial, asked.reason)
        if revoked is None:
            raise Problem(404, f"there is no certificate {serial!r}")
        return json_response(shown(revoked))


@contextmanager
def _answering() -> Iterator[None]:
    """Faults and a lost database as answers."""
    try:
        yield
    except ConfigError as error:
        raise Problem(400, str(error), [fields_of(fault) for fault in error.faults]) from error
    except DatabaseGone as error:
        raise Problem(503, str(error)) from error


def _listed(name: str, found: Iterable[Message], request: web.Request, filters: tuple[str, ...]) -> web.Response:
    part = page([shown(message) for message in found], request.query, filters)
    return json_response({"total": part.total, name: part.items, "nextCursor": part.cursor})
