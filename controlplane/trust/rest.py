"""REST of enrolment: the authority, tokens for new nodes, and the certificates that were given.

Thin over the register; docs/reference/rest.md has the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from sqlalchemy import Row

from controlplane.auth.gate import actor_of
from controlplane.listing import page
from controlplane.problem import Problem, json_response
from controlplane.trust.register import LONGEST_TOKEN_SECONDS, TOKEN_SECONDS, Register
from shared.node_uri import NAME_LIMIT
from shared.timestamp import timestamp

LABELS = 32
LABEL_CHARACTERS = 256
Json = dict[str, Any]


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
        now = self.register.now * 1000
        items = [_enrolment(row, now) for row in await self.register.enrolments()]
        return _listed("enrolments", items, request, ("id", "node", "state", "usedBy"))

    async def invite(self, request: web.Request) -> web.Response:
        """A new token; its text is in this answer and nowhere else."""
        body = await _body(request, {"node", "labels", "expiresIn"})
        faults: list[Json] = []
        node, labels = _node(body, faults), _labels(body, faults)
        seconds = body.get("expiresIn", TOKEN_SECONDS)
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= LONGEST_TOKEN_SECONDS:
            message = f"must be a number of seconds from 1 to {LONGEST_TOKEN_SECONDS}"
            faults.append({"path": "expiresIn", "message": message})
        if faults:
            raise Problem(400, "the enrolment is not as it must be", faults)
        token = await self.register.invite(actor_of(request), node, labels, float(seconds))
        answer = {
            "id": token.id,
            "token": token.text,
            "node": node,
            "labels": labels,
            "expiresAt": timestamp(token.expires),
            "fingerprint": self.register.authority.fingerprint,
        }
        return json_response(answer, 201)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Make a token useless that was not used yet."""
        id_ = request.match_info["id"]
        if not await self.register.withdraw(actor_of(request), id_):
            raise Problem(404, f"there is no unused enrolment {id_!r}")
        return web.Response(status=204)

    async def certificates(self, request: web.Request) -> web.Response:
        """All certificates that are remembered."""
        now = self.register.now * 1000
        items = [_certificate(row, now) for row in await self.register.certificates()]
        return _listed("certificates", items, request, ("serial", "node", "state"))

    async def revoke(self, request: web.Request) -> web.Response:
        """End the stream of the node with this certificate, and let nobody in with it again."""
        serial = request.match_info["id"]
        body = await _body(request, {"reason"})
        reason = body.get("reason", "")
        if not isinstance(reason, str) or len(reason) > LABEL_CHARACTERS:
            fault: Json = {"path": "reason", "message": f"must be a text of at most {LABEL_CHARACTERS} characters"}
            raise Problem(400, "the reason is not as it must be", [fault])
        if not await self.register.revoke(actor_of(request), serial, reason):
            raise Problem(404, f"there is no certificate {serial!r}")
        now = self.register.now * 1000
        found = [row for row in await self.register.certificates() if row.serial == serial.lower()]
        return json_response(_certificate(found[0], now))


async def _body(request: web.Request, known: set[str]) -> Json:
    """The JSON object of a request; none is an empty one."""
    raw = await request.read()
    try:
        body = orjson.loads(raw) if raw.strip() else {}
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Problem(400, "the body must be a JSON object")
    if unknown := sorted(set(body) - known):
        faults: list[Json] = [{"path": key, "message": "there is no such field"} for key in unknown]
        raise Problem(400, f"the body may have {', '.join(sorted(known))}", faults)
    return body


def _node(body: Mapping[str, object], faults: list[Json]) -> str:
    node = body.get("node", "")
    if isinstance(node, str) and len(node) <= NAME_LIMIT and (not node or node.isprintable()):
        return node
    faults.append({"path": "node", "message": f"must be a text of at most {NAME_LIMIT} printable characters"})
    return ""


def _labels(body: Mapping[str, object], faults: list[Json]) -> dict[str, str]:
    labels = body.get("labels", {})
    good = isinstance(labels, dict) and len(labels) <= LABELS
    if isinstance(labels, dict) and good:
        texts = [text for pair in labels.items() for text in pair]
        if all(isinstance(text, str) and len(text) <= LABEL_CHARACTERS for text in texts) and "" not in labels:
            return labels
    message = f"must be an object of at most {LABELS} texts of at most {LABEL_CHARACTERS} characters"
    faults.append({"path": "labels", "message": message})
    return {}


def _enrolment(row: Row[Any], now: float) -> Json:
    state = "used" if row.used_at is not None else "expired" if row.expires_at <= now else "unused"
    return {
        "id": row.id,
        "node": row.node,
        "labels": row.labels,
        "state": state,
        "createdAt": timestamp(row.created_at / 1000),
        "createdBy": row.created_by,
        "expiresAt": timestamp(row.expires_at / 1000),
        "usedAt": timestamp(row.used_at / 1000) if row.used_at is not None else None,
        "usedBy": row.used_by,
    }


def _certificate(row: Row[Any], now: float) -> Json:
    state = "revoked" if row.revoked_at is not None else "expired" if row.not_after <= now else "good"
    return {
        "serial": row.serial,
        "node": row.node,
        "labels": row.labels,
        "state": state,
        "issuedAt": timestamp(row.issued_at / 1000),
        "notAfter": timestamp(row.not_after / 1000),
        "enrolment": row.enrolment,
        "revokedAt": timestamp(row.revoked_at / 1000) if row.revoked_at is not None else None,
        "revokedBy": row.revoked_by,
        "reason": row.reason,
    }


def _listed(name: str, items: list[Json], request: web.Request, filters: tuple[str, ...]) -> web.Response:
    shown = page(items, request.query, filters)
    return json_response({"total": shown.total, name: shown.items, "nextCursor": shown.cursor})
