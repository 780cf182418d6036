"""Who may call what: one table for REST and one for gRPC, each from a verb to the least role that may use it.

A viewer reads, and is never shown a secret; an operator changes configuration and nodes; an admin decides who is what.
What stands in neither is refused to everyone, and a test holds both against what is registered. A path is written as
the router has it; only where its parameters stand counts, not how they are called.
"""

from __future__ import annotations

import re

from controlplane.actor import ADMIN, OPERATOR, ROLES, VIEWER

OPEN = "open"
"""No credential is needed: probes, and the ways to get one."""
NODE = "node"
"""Not for operators at all: nodes have credentials of their own."""
REST = {
    ("GET", "/health"): OPEN,
    ("GET", "/health/live"): OPEN,
    ("GET", "/health/ready"): OPEN,
    ("GET", "/api/openapi.json"): OPEN,  # the same for every installation
    ("GET", "/api/docs"): OPEN,
    ("GET", "/api/docs/{file}"): OPEN,
    ("GET", "/version"): VIEWER,
    ("GET", "/metrics"): VIEWER,
    ("GET", "/api/status"): VIEWER,
    ("GET", "/api/nodes"): VIEWER,
    ("GET", "/api/nodes/{id}"): VIEWER,
    ("GET", "/api/nodes/authority"): VIEWER,
    ("GET", "/api/nodes/enrolments"): OPERATOR,
    ("POST", "/api/nodes/enrolments"): OPERATOR,
    ("DELETE", "/api/nodes/enrolments/{id}"): OPERATOR,
    ("GET", "/api/nodes/certificates"): VIEWER,
    ("POST", "/api/nodes/certificates/{id}/revoke"): OPERATOR,
    ("GET", "/api/events"): VIEWER,
    ("GET", "/api/metrics"): VIEWER,
    ("GET", "/api/config"): VIEWER,
    ("GET", "/api/config/export"): VIEWER,
    ("POST", "/api/config/validate"): VIEWER,
    ("POST", "/api/config/diff"): VIEWER,
    ("POST", "/api/config/apply"): OPERATOR,
    ("POST", "/api/explain"): VIEWER,
    ("GET", "/api/rollouts"): VIEWER,
    ("POST", "/api/rollouts"): OPERATOR,
    ("GET", "/api/rollouts/{id}"): VIEWER,
    ("POST", "/api/rollouts/{id}/pause"): OPERATOR,
    ("POST", "/api/rollouts/{id}/resume"): OPERATOR,
    ("POST", "/api/rollouts/{id}/promote"): OPERATOR,
    ("POST", "/api/rollouts/{id}/abort"): OPERATOR,
    ("POST", "/api/auth/login"): OPEN,
    ("POST", "/api/auth/refresh"): OPEN,
    ("GET", "/api/auth/oidc/start"): OPEN,
    ("GET", "/api/auth/oidc/callback"): OPEN,
    ("POST", "/api/auth/logout"): VIEWER,
    ("GET", "/api/auth/session"): VIEWER,
    ("POST", "/api/auth/password"): VIEWER,
    ("GET", "/api/tokens"): ADMIN,
    ("POST", "/api/tokens"): ADMIN,
    ("GET", "/api/tokens/{name}"): ADMIN,
    ("DELETE", "/api/tokens/{name}"): ADMIN,
    ("GET", "/api/users"): ADMIN,
    ("POST", "/api/users"): ADMIN,
    ("GET", "/api/users/{name}"): ADMIN,
    ("PATCH", "/api/users/{name}"): ADMIN,
    ("DELETE", "/api/users/{name}"): ADMIN,
    **{
        (method, f"/api/{kind}{place}"): role
        for kind in ("routes", "upstreams", "consumers", "keys")
        for method, place, role in (
            ("GET", "", VIEWER),
            ("POST", "", OPERATOR),
            ("GET", "/{id}", VIEWER),
            ("PUT", "/{id}", OPERATOR),
            ("PATCH", "/{id}", OPERATOR),
            ("DELETE", "/{id}", OPERATOR),
        )
    },
    ("POST", "/api/keys/{id}/rotate"): OPERATOR,
    ("GET", "/api/settings"): VIEWER,
    ("PUT", "/api/settings"): OPERATOR,
    ("PATCH", "/api/settings"): OPERATOR,
    ("POST", "/api/transactions"): OPERATOR,
    ("GET", "/api/revisions"): VIEWER,
    ("GET", "/api/revisions/{id}"): VIEWER,
    ("GET", "/api/revisions/{id}/diff"): VIEWER,
    ("POST", "/api/revisions/{id}/rollback"): OPERATOR,
    ("GET", "/api/audit"): VIEWER,
    ("GET", "/api/audit/export"): VIEWER,
    ("GET", "/api/audit/verify"): VIEWER,
}
"""(method, path) -> least role; HEAD is a GET."""

GRPC = {
    "/grpc.health.v1.Health/*": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/*": VIEWER,
    "/flexgate.v1.ConfigDiscovery/Stream": NODE,
    "/flexgate.v1.Telemetry/Report": NODE,
    "/flexgate.v1.Enrolment/Authorities": OPEN,
    "/flexgate.v1.Enrolment/Enrol": NODE,
    "/flexgate.v1.Enrolment/Renew": NODE,
    "/flexgate.v1.Admin/ListNodes": VIEWER,
    "/flexgate.v1.Admin/ExportConfig": VIEWER,
    "/flexgate.v1.Admin/ValidateConfig": VIEWER,
    "/flexgate.v1.Admin/ListResources": VIEWER,
    "/flexgate.v1.Admin/GetResource": VIEWER,
    "/flexgate.v1.Admin/PutResource": OPERATOR,
    "/flexgate.v1.Admin/DeleteResource": OPERATOR,
    "/flexgate.v1.Admin/Commit": OPERATOR,
    "/flexgate.v1.Admin/ApplyConfig": OPERATOR,
    "/flexgate.v1.Admin/Rollback": OPERATOR,
    "/flexgate.v1.Admin/CreateKey": OPERATOR,
    "/flexgate.v1.Admin/RotateKey": OPERATOR,
    "/flexgate.v1.Admin/ListRevisions": VIEWER,
    "/flexgate.v1.Admin/DiffRevisions": VIEWER,
    "/flexgate.v1.Admin/SearchAudit": VIEWER,
    "/flexgate.v1.Admin/VerifyAudit": VIEWER,
    "/flexgate.v1.Admin/Explain": VIEWER,
    "/flexgate.v1.Admin/ListRollouts": VIEWER,
    "/flexgate.v1.Admin/GetRollout": VIEWER,
    "/flexgate.v1.Admin/BeginRollout": OPERATOR,
    "/flexgate.v1.Admin/SteerRollout": OPERATOR,
    "/flexgate.v1.Admin/ListTokens": ADMIN,
    "/flexgate.v1.Admin/CreateToken": ADMIN,
    "/flexgate.v1.Admin/RevokeToken": ADMIN,
    "/flexgate.v1.Admin/ListUsers": ADMIN,
    "/flexgate.v1.Admin/CreateUser": ADMIN,
    "/flexgate.v1.Admin/UpdateUser": ADMIN,
    "/flexgate.v1.Admin/DeleteUser": ADMIN,
    "/flexgate.v1.Admin/CreateEnrolment": OPERATOR,
    "/flexgate.v1.Admin/ListEnrolments": OPERATOR,
    "/flexgate.v1.Admin/DeleteEnrolment": OPERATOR,
    "/flexgate.v1.Admin/ListCertificates": VIEWER,
    "/flexgate.v1.Admin/RevokeCertificate": OPERATOR,
}
"""/service/Method -> least role. "*" stands for all methods of a service that is not ours."""

_PARAMETER = re.compile(r"\{[^}]*\}")
_REST = {(method, _PARAMETER.sub("{}", path)): role for (method, path), role in REST.items()}


def rest_role(method: str, path: str) -> str | None:
    """The least role for a path of the router; None where the table has none."""
    method, path = "GET" if method == "HEAD" else method, _PARAMETER.sub("{}", path)
    return _REST.get((method, path))


def grpc_role(method: str) -> str | None:
    """The least role for /service/Method; None where the table has none."""
    return GRPC.get(method) or GRPC.get(method.rpartition("/")[0] + "/*")


def covers(role: str, least: str) -> bool:
    """Whether a role may do what needs this one; no role covers what is not known."""
    return role in ROLES and least in ROLES and ROLES.index(role) >= ROLES.index(least)
