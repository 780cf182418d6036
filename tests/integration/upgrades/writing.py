"""A control plane's database with something in every table, by the program's own statements."""

from __future__ import annotations

import time
from pathlib import Path

from controlplane.actor import ADMIN, Actor
from controlplane.auth.parts import Auth, AuthSettings, made
from controlplane.auth.passwords import Passwords
from controlplane.changes import Once
from controlplane.events import Events
from controlplane.rollout.plan import read_plan
from controlplane.rollout.records import Records
from controlplane.service import Service
from controlplane.store.pruning import Keep, Pruner
from controlplane.store.sql import SqlStore
from controlplane.tables_presence import PRESENCE, REPLICAS
from controlplane.trust.register import Register, kept_authority
from dataplane import identity
from shared.document import read
from shared.pb.access_pb2 import CreateTokenRequest, CreateUserRequest, LoginRequest, UpdateUserRequest
from shared.pb.admin_pb2 import Node
from tests.integration.upgrades import PASSWORD
from tests.support.access import CHEAP
from tests.support.configuration import ALICE, Plane, delete, plane, route, upstream

BOSS = Actor("boss", ADMIN, "192.0.2.1", "req-7")
CALLER = Actor("", "", "192.0.2.7", "req-2")
DOCUMENT = f"""
proxy: {{timeout: 20000}}
security: {{auth: {{type: apiKey, keys: [{{name: ci, key: "{"c" * 64}"}}]}}}}
rateLimit: {{global: {{max: 1000, windowMs: 60000}}}}
upstreams:
  - {{name: users, url: "http://users.internal:8080", circuitBreaker: {{failureThreshold: 7}}}}
  - {{name: orders, endpoints: [{{url: "http://10.0.0.7:80"}}, {{url: "http://10.0.0.8:80", weight: 3}}]}}
consumers: [{{name: billing, groups: [internal]}}]
routes:
  - {{name: users, path: "/users/*", upstream: users, methods: [GET], auth: required}}
  - {{name: "Zoë", path: "/zo%C3%AB/:id", upstream: orders, headers: {{"X-Kind": "it's \\"quoted\\""}}}}
"""


async def written(file: Path) -> dict[str, str]:
    """Write it; the secrets that it keeps as hashes."""
    async with plane(f"sqlite:///{file}", time.time) as parts:
        records = Records(parts.database, parts.audit)
        service = Service(SqlStore(parts.database, parts.audit, witness=records.committing), parts.publisher)
        await _configure(parts, service)
        secrets = await _let_in(parts, file.parent)
        await _enrol(parts)
        await _roll_out(service)
        await Pruner(parts.database, parts.audit, Keep(revisions=7, revisions_for=0.0)).prune()
        return secrets


async def _configure(parts: Plane, service: Service) -> None:
    """Five revisions: a document, a write with an idempotency key, two writes more, and a rollback to the second."""
    await service.replace(read(DOCUMENT), ALICE, message="from git")
    once = Once("alice", "key-1", "hash", lambda outcome: {"revision": outcome.committed.revision})
    first = route("users", to="users", path="/users/*", priority=5)
    await service.commit([first], ALICE, message="first", once=once)
    await service.commit([upstream("new"), route("new", to="new")], ALICE, force=True)
    await service.commit([delete("route", "new")], ALICE, force=True)
    await service.rollback(2, ALICE, force=True)
    await parts.audit.record(BOSS, "auth.login", "user ada", {"agent": "curl é"})


async def _let_in(parts: Plane, directory: Path) -> dict[str, str]:
    """Two tokens, one revoked; two users, one disabled; a session that was renewed, and one that was ended."""
    passwords = Passwords(CHEAP)
    auth: Auth = made(AuthSettings(), parts.database, parts.audit, Events(), passwords=passwords)
    await auth.start(directory)
    tokens = [
        (await auth.tokens.create(CreateTokenRequest(name=name, role="operator"), BOSS)).secret
        for name in ("ci", "old")
    ]
    await auth.tokens.revoke("old", BOSS)
    for name, role in (("ada", "admin"), ("bob", "viewer")):
        await auth.users.create(CreateUserRequest(name=name, role=role, password=PASSWORD), BOSS)
    request = LoginRequest(name="ada", password=PASSWORD)
    grants = [await auth.sessions.login(request, CALLER, "a browser") for _ in range(2)]
    await auth.sessions.refresh(grants[0].refresh_token, CALLER)
    await auth.sessions.end(auth.authenticator.identify(grants[1].access_token).session, BOSS)
    await auth.users.update(UpdateUserRequest(name="bob", disabled=True), BOSS)
    return {"token": tokens[0], "revoked": tokens[1]}


async def _enrol(parts: Plane) -> None:
    """Two nodes with certificates, one of them revoked; a token that is not used; a replica that has a node."""
    authority = await kept_authority(parts.database, parts.audit.append)
    register = Register(parts.database, authority, parts.audit.append)
    await register.refresh()
    for node in ("edge-1", "edge-2"):
        token = await register.invite(BOSS, node, {"zone": "a"})
        issued = await register.enrol(token.text, node, identity.request(node)[1], "10.0.0.9:1")
        if node == "edge-2":
            await register.revoke(BOSS, issued.serial, "lost")
    await register.invite(BOSS, "", {})
    body = Node(id="edge-1", version="0.1.0", acked_revision=5, connected=True).SerializeToString()
    async with parts.database.transaction() as connection:
        await connection.execute(REPLICAS.insert().values(name="gone/1", beat=7))
        await connection.execute(PRESENCE.insert().values(node="edge-1", replica="gone/1", body=body))


async def _roll_out(service: Service) -> None:
    """A rollout that a write took the place of, and one that is under way."""
    waves = read_plan({"waves": [{"percent": 10}], "bake": "1m"})
    await service.commit([route("orders", to="orders")], ALICE, rollout=waves, message="in waves")
    await service.commit([route("orders", to="orders", priority=1)], ALICE, force=True)
    await service.commit([route("late", to="orders")], ALICE, rollout=waves)
