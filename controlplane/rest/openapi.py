"""The OpenAPI 3.1 document: the table of operations, the model's descriptors and the table of roles, put together."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor

from controlplane.auth.roles import OPEN, rest_role
from controlplane.listing import LIMIT
from controlplane.rest.operations import MODELS, OPERATIONS, Operation
from controlplane.rest.schemas import Schemas
from shared import API_VERSION, __version__
from shared.pb import access_pb2, admin_pb2, enrolment_pb2, explain_pb2, resources_pb2

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer", "minimum": 0}
SWITCH: Json = {"type": "string", "enum": ["0", "1", "true", "false"]}
MODULES = (resources_pb2, admin_pb2, access_pb2, enrolment_pb2, explain_pb2)


def _of(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(item: Json) -> Json:
    return {"type": "array", "items": item}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


FAULT: Json = {
    "type": "object",
    "properties": {"path": TEXT, "message": TEXT, "code": TEXT, "kind": TEXT, "name": TEXT, "line": NUMBER},
    "required": ["path", "message"],
}
FIELD: Json = _of(path=TEXT, before={}, after={})
STEP: Json = _of(kind=TEXT, name=TEXT, action={"type": "string", "enum": ["create", "update", "delete"]})
STEPS = _list({**STEP, "properties": {**STEP["properties"], "fields": _list(FIELD), "etag": TEXT}})
REVISION = _of(
    revision=NUMBER, storeEpoch=TEXT, timestamp=TEXT, actor=TEXT, action=TEXT, message=TEXT, correlationId=TEXT,
    changeCount=NUMBER, digest=TEXT,
)  # fmt: skip
COMPONENTS: dict[str, Json] = {
    "Object": {"type": "object"},
    "Text": TEXT,
    "MergePatch": {"type": "object"},
    "Error": {
        "type": "object",
        "properties": {
            "error": TEXT, "message": TEXT, "correlationId": TEXT, "code": TEXT, "details": _list(FAULT),
            "retryAfter": NUMBER,
        },
        "required": ["error", "message", "correlationId"],
    },
    "Fault": FAULT,
    "Health": _of(status=TEXT, timestamp=TEXT, version=TEXT),
    "Ready": _of(status={"enum": ["UP", "DEGRADED", "DOWN"]}, checks={"type": "object"}, timestamp=TEXT),
    "Version": _of(
        name=TEXT, version=TEXT, apiVersion=TEXT, configVersion=NUMBER, python=TEXT, uptime={"type": "number"}
    ),
    "Plan": {
        "type": "object",
        "properties": {
            "dryRun": {"const": True}, "revision": NUMBER, "etag": TEXT, "changes": STEPS, "warnings": _list(FAULT),
            "nodeGroups": {"type": ["array", "null"], "items": TEXT}, "nodes": _list(TEXT), "needsForce": TEXT,
            "verdicts": _list(_ref("NodeVerdict")),
        },
        "required": ["dryRun", "revision", "etag", "changes", "warnings", "nodeGroups", "nodes", "needsForce"],
    },
    "Summary": {
        "type": "object",
        "properties": {
            "revision": NUMBER, "changes": STEPS, "warnings": _list(FAULT), "applied": _ref("Applied"),
        },
        "required": ["revision", "changes"],
    },
    "Waited": _of(applied=_ref("Applied")),
    "Verdict": _of(valid={"type": "boolean"}, errors=_list(FAULT), warnings=_list(FAULT)),
    "Revisions": _of(total=NUMBER, revisions=_list(REVISION), nextCursor=TEXT),
    "RevisionChanges": _of(**REVISION["properties"], changes=STEPS),
    "Diff": {"type": "object", "properties": {"from": NUMBER, "to": NUMBER, "changes": STEPS}},
    "Audit": _of(logs=_list({"type": "object"}), total=NUMBER, page=NUMBER, pageSize=NUMBER, nextCursor=TEXT),
    "Verified": {
        "type": "object",
        "properties": {
            "valid": {"type": "boolean"}, "first": NUMBER, "anchor": TEXT, "rows": NUMBER, "hash": TEXT,
            "broken": {"type": ["integer", "null"]}, "reason": TEXT,
        },
        "required": ["valid", "first", "anchor", "rows", "hash"],
    },
    "Events": _of(total=NUMBER, events=_list({"type": "object"}), nextCursor=TEXT),
    "Nodes": _of(desiredRevision=NUMBER, total=NUMBER, nodes=_list(_ref("Node")), nextCursor=TEXT),
    "RolloutBeginning": {
        "type": "object",
        "properties": {"document": TEXT, "plan": {"type": "object"}},
        "required": ["document", "plan"],
        "additionalProperties": False,
    },
    "Rotation": {
        "type": "object",
        "properties": {"grace": {"anyOf": [NUMBER, TEXT], "description": "milliseconds, or a duration such as 24h"}},
        "additionalProperties": False,
    },
    "Transaction": {
        "type": "object",
        "properties": {
            "changes": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "action": {"enum": ["create", "put", "patch", "delete"]},
                        "kind": {"enum": ["route", "upstream", "consumer", "credential", "settings"]},
                        "name": TEXT, "ifMatch": TEXT, "resource": {"type": "object"},
                    },
                    "required": ["action", "kind"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["changes"],
        "additionalProperties": False,
    },
}  # fmt: skip
"""Schemas that are no messages of the model."""
WRONG: Json = {
    "description": "what went wrong; as text where the request is no HTTP",
    "content": {"application/json": {"schema": _ref("Error")}, "text/plain": {"schema": TEXT}},
}
BREAKER: Json = {
    "type": "object",
    "properties": {"enabled": {"type": "boolean"}, "threshold": {"anyOf": [NUMBER, TEXT]}},
    "description": "the breaker of the upstream that the route leads to",
}
PARAMETERS: dict[str, Json] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT},
    "pageSize": {"type": "integer", "minimum": 1, "maximum": LIMIT},
    "page": {"type": "integer", "minimum": 1, "maximum": 100000},
    "enabled": {"type": "string", "enum": ["true", "false"]},
    "since": {"type": "string", "format": "date-time"},
    "until": {"type": "string", "format": "date-time"},
    "format": {"type": "string", "enum": ["json", "yaml"]},
    "from": NUMBER,
    "dryRun": {"type": "string", "enum": ["0", "1", "true", "false", "nodes"]},
    "force": SWITCH,
    "message": {"type": "string", "maxLength": 1000},
}
"""Parameters that are not any text."""
HEADERS: dict[str, tuple[str, Json]] = {
    "If-Match": (
        "the etag that a read or, of the whole configuration, a plan gave; or *",
        TEXT | {"examples": ['"0f3c"', "*"]},
    ),
    "Idempotency-Key": ("a repeated request with the same key is done once", {"type": "string", "maxLength": 255}),
    "Prefer": ("wait=SECONDS: answer when the nodes run it", TEXT | {"examples": ["wait=10"]}),
}


FROM_PATH = {"UpdateUserRequest": "name", "RevokeCertificateRequest": "serial"}
"""Fields of messages that the path has, and the body must not."""


@cache
def document() -> Json:
    """The whole document."""
    schemas = Schemas()
    messages = {name: found for module in MODULES for name, found in module.DESCRIPTOR.message_types_by_name.items()}
    for name, schema in COMPONENTS.items():
        schemas.add(name, schema)
    for name in ("Applied", "NodeVerdict", "Node"):
        schemas.message(cast(Descriptor, messages[name]), written=False)
    for model in (*MODELS.values(), "Settings"):
        _model(schemas, cast(Descriptor, messages[model]))
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        for name in (operation.body, *operation.answers.values()):
            for part in name.replace("[]", "").split("|"):
                if part in messages and part not in schemas.components:
                    schemas.message(cast(Descriptor, messages[part]), written=False)
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for name, field in FROM_PATH.items():
        del schemas.components[name]["properties"][field]
    return {
        "openapi": "3.1.0",
        "info": {"title": "FlexGate control plane", "version": API_VERSION, "summary": f"FlexGate {__version__}"},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _model(schemas: Schemas, descriptor: Descriptor) -> None:
    """A resource as it is shown, as it is written, and as a write answers it."""
    name = descriptor.name
    schemas.message(descriptor, written=False)
    schemas.message(descriptor, written=True)
    shown = {**schemas.components[name], "properties": dict(schemas.components[name]["properties"])}
    written = schemas.components[f"{name}Input"]
    written = schemas.components[f"{name}Input"] = written.get("anyOf", [written])[0]  # a resource is an object
    if name == "Route":
        more: Json = {"upstreamName": TEXT, "circuitBreaker": BREAKER}
        shown["properties"] |= more | {"rateLimit": {"type": "object"}}
        written["properties"] |= more | {"id": {"anyOf": [NUMBER, TEXT]}}
    written["properties"] |= {"applied": {}, "warnings": {}}
    schemas.add(f"{name}View", shown)
    extra = {"warnings": _list(FAULT), "applied": _ref("Applied")}
    extra |= {"secret": TEXT} if name == "Credential" else {}
    schemas.add(f"{name}Answer", {**shown, "properties": {**shown["properties"], **extra}})


def _operation(operation: Operation) -> Json:
    role = rest_role(operation.method, operation.path) or ""
    answers = {str(status): _answer(schema, operation.answer_media) for status, schema in operation.answers.items()}
    found: Json = {
        "operationId": _name(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"Least role: {role}." if role != OPEN else "Open to everyone.",
        "parameters": list(_parameters(operation)),
        "responses": {**answers, "default": WRONG},
    }
    if role == OPEN:
        found["security"] = []
    if operation.body:
        media = {"schema": _ref(operation.body)} | ({"example": operation.example} if operation.example else {})
        kinds = [operation.media, *(["application/merge-patch+json"] if operation.body == "MergePatch" else [])]
        found["requestBody"] = {"required": True, "content": dict.fromkeys(kinds, media)}
    return found


def _name(operation: Operation) -> str:
    """An id for generated clients: `putRoutesById`."""
    parts = [part for part in operation.path.removeprefix("/api").replace(".", "/").split("/") if part]
    words = [f"By{part[1:-1].capitalize()}" if part.startswith("{") else part.capitalize() for part in parts]
    of_process = "" if operation.path.startswith("/api") else "Process"
    return operation.method.lower() + of_process + "".join(words)


def _answer(schema: str, media: str) -> Json:
    description = "done"
    if not schema:
        return {"description": description}
    if schema.endswith("[]"):
        shape = _list(_ref(schema[:-2]))
    else:
        parts = [_ref(part) for part in schema.split("|")]
        shape = parts[0] if len(parts) == 1 else {"anyOf": parts}
    return {"description": description, "content": {each: {"schema": shape} for each in media.split("|")}}


def _parameters(operation: Operation) -> list[Json]:
    found = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": TEXT | {"minLength": 1}}
        for part in operation.path.split("/")
        if part.startswith("{")
    ]
    names = (*operation.query, *(("dryRun", "force", "message") if operation.write else ()))
    found += [{"name": name, "in": "query", "schema": PARAMETERS.get(name, TEXT)} for name in names]
    if operation.write:
        found += [
            {"name": name, "in": "header", "description": text, "schema": schema}
            for name, (text, schema) in HEADERS.items()
        ]
    return found
