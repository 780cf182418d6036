"""REST, thin over the service and the live parts: parse, call, render. Who may is in `auth.roles`; no rule is here.

One file for each family of resources. `operations` says of every verb what it takes and answers: `openapi` is made of
that, and a test holds it against what is registered.
"""

from __future__ import annotations

from aiohttp import web

from controlplane.auth.gate import gate
from controlplane.auth.rest_access import AccessRest
from controlplane.auth.rest_login import LoginRest
from controlplane.plane import Plane
from controlplane.problem import answering
from controlplane.rest.audit import AuditRest
from controlplane.rest.config import ConfigRest
from controlplane.rest.docs import DocsRest
from controlplane.rest.keys import KeysRest
from controlplane.rest.live import LiveRest
from controlplane.rest.nodes import NodesRest
from controlplane.rest.problems import telling
from controlplane.rest.resources import ResourcesRest
from controlplane.rest.revisions import RevisionsRest
from controlplane.rest.transactions import TransactionsRest
from controlplane.rest.writing import Writing
from controlplane.rollout.rest import RolloutsRest
from controlplane.trust.rest import NodeTrust

DOCUMENT_BYTES = 32 * 1024 * 1024
"""The largest body: a document; 10 000 routes take about 2 MiB."""


def application(plane: Plane) -> web.Application:
    """The API as an aiohttp application."""
    layers = [answering(lambda: plane.publisher.revision), gate(plane.auth), telling]
    app = web.Application(middlewares=layers, client_max_size=DOCUMENT_BYTES)
    writing = Writing(plane)
    resources = ResourcesRest(plane, writing)
    parts = (
        LoginRest(plane.auth),
        AccessRest(plane.auth),
        LiveRest(plane),
        ConfigRest(plane, writing),
        NodeTrust(plane.register),
        NodesRest(plane),
        RevisionsRest(plane, writing),
        TransactionsRest(plane, writing),
        RolloutsRest(plane, writing),
        AuditRest(plane.audit),
        DocsRest(),
        KeysRest(plane, writing, resources),
        resources,
    )
    for part in parts:
        app.add_routes(part.routes())
    return app
