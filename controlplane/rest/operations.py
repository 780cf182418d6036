"""What every verb of the REST API takes and answers: one line each. `openapi` renders it, a test holds it complete.

Schemas are named as in `openapi.COMPONENTS`, or are messages of the model. `Name[]` is a list of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
VERBS = ("pause", "resume", "promote", "abort")
"""Of rollouts."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`query` names its parameters; `answers` is status -> schema ("" for no body).

    `write`: takes If-Match, Idempotency-Key, Prefer, dryRun, force and message. `media`: what a body is.
    """

    method: str
    path: str
    summary: str
    answers: dict[int, str]
    query: tuple[str, ...] = ()
    body: str = ""
    example: Any = None
    write: bool = False
    media: str = "application/json"
    answer_media: str = "application/json"

    @property
    def tag(self) -> str:
        """What it is listed under."""
        parts = self.path.split("/")
        return parts[2] if len(parts) > 2 and parts[1] == "api" else "health"


PAGED = ("limit", "cursor")
EXAMPLES: dict[str, Json] = {
    "Route": {
        "path": "/api/users/*",
        "upstream": "https://users.internal",
        "methods": ["GET"],
        "rateLimit": {"requests": 100, "window": "60s"},
        "circuitBreaker": {"enabled": True, "threshold": 5},
    },
    "Upstream": {"name": "users", "endpoints": ["http://10.0.0.7:8080", "http://10.0.0.8:8080"], "timeout": "5s"},
    "Consumer": {"name": "billing", "groups": ["internal"], "rateLimit": {"requests": 1000, "window": "1m"}},
    "Credential": {"consumer": "billing", "scopes": ["read"], "expiresAt": "2030-01-01T00:00:00Z"},
    "Settings": {"proxy": {"timeout": "30s", "maxBodySize": "10mb"}, "logging": {"level": "info"}},
}
YAML_EXAMPLE = """\
upstreams:
  - {name: users, url: "http://users.internal:8080"}
routes:
  - {path: "/users/*", upstream: users}
"""
FILTERED = {
    "routes": ("id", "name", "path", "upstream", "upstreamName", "methods", "hosts", "enabled"),
    "upstreams": ("id", "name", "url"),
    "consumers": ("id", "name", "groups", "priority"),
    "keys": ("id", "name", "consumer", "type", "scopes", "enabled"),
}
MODELS = {"routes": "Route", "upstreams": "Upstream", "consumers": "Consumer", "keys": "Credential"}


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _resources() -> Iterator[Operation]:
    for path, model in MODELS.items():
        one, example = _with_article(path.removesuffix("s")), EXAMPLES[model]
        answer, body, place = f"{model}Answer", f"{model}Input", f"/api/{path}/{{id}}"
        named = {key: value for key, value in example.items() if key != "name"}
        yield Operation(
            "GET", f"/api/{path}", f"List {path}", {200: f"{model}View[]"}, (*FILTERED[path], "search", *PAGED)
        )
        made = "The control plane makes the key and shows it once, as `secret`." if path == "keys" else ""
        yield Operation(
            "POST", f"/api/{path}", f"Create {one}. {made}".strip(), {201: answer, 200: "Plan"},
            body=body, example=example, write=True,
        )  # fmt: skip
        yield Operation("GET", place, f"Show {one}, by name or id", {200: f"{model}View"})
        yield Operation(
            "PUT", place, f"Make {one} what the body says, whole", {200: f"{answer}|Plan", 201: answer},
            body=body, example=named, write=True,
        )  # fmt: skip
        yield Operation(
            "PATCH", place, f"Change {one} by a merge patch (RFC 7396)", {200: f"{answer}|Plan"},
            body="MergePatch", example=next({key: value} for key, value in named.items()), write=True,
        )  # fmt: skip
        yield Operation("DELETE", place, f"Delete {one}", {204: "", 200: "Waited|Plan"}, write=True)


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/health", "Whether the process runs", {200: "Health"}),
    Operation("GET", "/health/live", "The same", {200: "Health"}),
    Operation("GET", "/health/ready", "Whether nodes can be given a configuration", {200: "Ready", 503: "Ready"}),
    Operation("GET", "/version", "What runs here", {200: "Version"}),
    Operation("GET", "/metrics", "Prometheus metrics", {200: "Text"}, answer_media="text/plain"),
    Operation("GET", "/api/status", "Where the configuration comes from and stands", {200: "Object"}),
    Operation("GET", "/api/events", "What happened, newest first", {200: "Events"},
              ("node", "event", "since", *PAGED)),
    Operation("GET", "/api/metrics", "What all nodes served", {200: "Object"}, ("range",)),
    *_resources(),
    Operation("POST", "/api/keys/{id}/rotate", "Give a key a new secret; the old one works for `grace` more",
              {200: "CredentialAnswer|Plan"}, body="Rotation", example={"grace": "24h"}, write=True),
    Operation("GET", "/api/settings", "Show the settings", {200: "SettingsView"}),
    Operation("PUT", "/api/settings", "Make the settings what the body says, whole", {200: "SettingsAnswer|Plan"},
              body="SettingsInput", example=EXAMPLES["Settings"], write=True),
    Operation("PATCH", "/api/settings", "Change the settings by a merge patch (RFC 7396)",
              {200: "SettingsAnswer|Plan"}, body="MergePatch", example={"logging": {"level": "debug"}}, write=True),
    Operation("POST", "/api/transactions", "Make several changes together, or none of them", {200: "Summary|Plan"},
              body="Transaction", write=True, example={"changes": [
                  {"action": "put", "kind": "upstream", "name": "users", "resource": {"url": "http://10.0.0.7:8080"}},
                  {"action": "delete", "kind": "route", "name": "old"}]}),
    Operation("GET", "/api/config", "The running document and its revision", {200: "Object"}),
    Operation("GET", "/api/config/export", "The running document, as JSON or YAML", {200: "Object"}, ("format",),
              answer_media="application/json|application/yaml"),
    Operation("POST", "/api/config/validate", "All that is wrong with a document", {200: "Verdict"},
              body="Text", media="application/yaml", example=YAML_EXAMPLE),
    Operation("POST", "/api/config/diff", "What applying a document would change", {200: "Plan"},
              body="Text", media="application/yaml", example=YAML_EXAMPLE),
    Operation("POST", "/api/config/apply", "Make a document the whole configuration", {200: "Summary|Plan"},
              body="Text", media="application/yaml", example=YAML_EXAMPLE, write=True),
    Operation("GET", "/api/revisions", "What was committed, newest first", {200: "Revisions"},
              ("actor", "action", "kind", "name", *PAGED)),
    Operation("GET", "/api/revisions/{id}", "A revision and what it changed", {200: "RevisionChanges"}),
    Operation("GET", "/api/revisions/{id}/diff", "What makes a revision of another", {200: "Diff"}, ("from",)),
    Operation("POST", "/api/revisions/{id}/rollback", "Make the configuration what it was", {200: "Summary|Plan"},
              write=True),
    Operation("GET", "/api/rollouts", "Rollouts, newest first", {200: "Object"}, PAGED),
    Operation("POST", "/api/rollouts", "Make a document the configuration, in waves", {201: "Object", 200: "Plan"},
              body="RolloutBeginning", write=True,
              example={"document": YAML_EXAMPLE, "plan": {"waves": [{"percent": 10}], "bake": "1m"}}),
    Operation("GET", "/api/rollouts/{id}", "A rollout", {200: "Object"}),
    *(Operation("POST", f"/api/rollouts/{{id}}/{verb}", f"{verb.capitalize()} a rollout", {200: "Object"})
      for verb in VERBS),
    Operation("GET", "/api/audit", "Who did what", {200: "Audit"},
              ("actor", "action", "target", "address", "correlationId", "since", "until", "search", "page",
               "pageSize", "cursor")),
    Operation("GET", "/api/audit/export", "The same, all of it, as lines of JSON", {200: "Text"},
              ("actor", "action", "target", "address", "correlationId", "since", "until", "search"),
              answer_media="application/x-ndjson"),
    Operation("GET", "/api/audit/verify", "Whether the log is whole", {200: "Verified"}),
    Operation("GET", "/api/nodes", "Who runs which revision, and why not", {200: "Nodes"},
              ("id", "state", "version", *PAGED)),
    Operation("GET", "/api/nodes/{id}", "One node; a slash in its id is %2F", {200: "Node"}),
    Operation("GET", "/api/nodes/authority", "What new nodes are given to trust", {200: "Object"}),
    Operation("GET", "/api/nodes/enrolments", "Tokens for new nodes", {200: "Object"},
              ("id", "node", "state", "usedBy", *PAGED)),
    Operation("POST", "/api/nodes/enrolments", "A single-use token for a new node; shown once", {201: "Object"},
              body="CreateEnrolmentRequest", example={"node": "edge-1", "expiresIn": 3600}),
    Operation("DELETE", "/api/nodes/enrolments/{id}", "Make an unused token useless", {204: ""}),
    Operation("GET", "/api/nodes/certificates", "Certificates that nodes were given", {200: "Object"},
              ("id", "serial", "node", "state", *PAGED)),
    Operation("POST", "/api/nodes/certificates/{id}/revoke", "Revoke a certificate", {200: "Object"},
              body="RevokeCertificateRequest", example={"reason": "lost"}),
    Operation("POST", "/api/explain", "What the nodes would do with a sample request", {200: "Object"},
              body="SampleRequest", example={"method": "GET", "path": "/api/users/7", "host": "api.example.com"}),
    Operation("POST", "/api/auth/login", "Log in with a password", {200: "Grant"},
              body="LoginRequest", example={"name": "ada", "password": "correct horse battery"}),
    Operation("POST", "/api/auth/refresh", "New tokens for a refresh token", {200: "Grant"}, body="RefreshRequest",
              example={"refreshToken": "fgr_..."}),
    Operation("POST", "/api/auth/logout", "End the session", {204: ""}),
    Operation("GET", "/api/auth/session", "Who is asking", {200: "Caller"}),
    Operation("POST", "/api/auth/password", "Change the password", {204: ""}, body="ChangePasswordRequest",
              example={"password": "correct horse battery", "newPassword": "incorrect horse battery"}),
    Operation("GET", "/api/auth/oidc/start", "Log in at the provider", {302: ""}, ("to",)),
    Operation("GET", "/api/auth/oidc/callback", "Where the provider sends the browser back", {303: ""},
              ("code", "state", "iss", "error")),
    Operation("GET", "/api/tokens", "API tokens", {200: "Object"}, ("name", "role", "createdBy", "prefix", *PAGED)),
    Operation("POST", "/api/tokens", "A new API token; its secret is shown once", {201: "CreateTokenResponse"},
              body="CreateTokenRequest", example={"name": "ci", "role": "operator", "expiresInDays": 90}),
    Operation("GET", "/api/tokens/{name}", "An API token, by name or id", {200: "ApiToken"}),
    Operation("DELETE", "/api/tokens/{name}", "Revoke an API token", {204: ""}),
    Operation("GET", "/api/users", "Users", {200: "Object"},
              ("name", "role", "email", "disabled", "issuer", *PAGED)),
    Operation("POST", "/api/users", "A new user", {201: "User"}, body="CreateUserRequest",
              example={"name": "ada", "role": "operator", "password": "correct horse battery"}),
    Operation("GET", "/api/users/{name}", "A user, by name or id", {200: "User"}),
    Operation("PATCH", "/api/users/{name}", "Change a user", {200: "User"}, body="UpdateUserRequest",
              example={"role": "viewer"}),
    Operation("DELETE", "/api/users/{name}", "Delete a user", {204: ""}),
    Operation("GET", "/api/openapi.json", "This document", {200: "Object"}),
    Operation("GET", "/api/docs", "The same to read", {200: "Text"}, answer_media="text/html"),
    Operation("GET", "/api/docs/{file}", "A part of that page", {200: "Text"}, answer_media="text/plain"),
)  # fmt: skip
