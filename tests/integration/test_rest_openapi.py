"""The OpenAPI document: complete, with examples that are good, and readable offline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from controlplane.rest import application
from controlplane.rest.docs import FILES, POLICY
from controlplane.rest.openapi import document
from controlplane.rest.operations import OPERATIONS
from tests.integration.test_rest_resources import api

METHODS = ("get", "post", "put", "patch", "delete")


def schema_of(name: str) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema of the document."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    )


async def test_every_route_is_described(tmp_path: Path) -> None:
    """Each route of the router stands in the document, and nothing else does; no operation has two lines."""
    async with api(tmp_path) as (_, plane):
        app = application(plane.plane)
        registered = {
            (route.method.lower(), route.resource.canonical) for route in app.router.routes() if route.resource
        }
    described = {(method, path) for path, verbs in document()["paths"].items() for method in verbs}
    assert described == {verb for verb in registered if verb[0] != "head"}
    assert len(OPERATIONS) == len(described)
    ids = [verb["operationId"] for verbs in document()["paths"].values() for verb in verbs.values()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.body], ids=lambda one: f"{one.method} {one.path}"
)
def test_examples_fit_their_schemas(operation: Any) -> None:
    """Every body has an example, and the example is what its schema asks for."""
    assert operation.example
    schema_of(operation.body).validate(operation.example)


def test_every_reference_leads_somewhere() -> None:
    """No schema refers to one that is not there, and none takes a member that it does not name."""
    text = str(document())
    named = set(re.findall(r"#/components/schemas/([A-Za-z]+)", text))
    assert named <= document()["components"]["schemas"].keys()
    assert not schema_of("RouteInput").is_valid({"upstraem": "u"})
    assert schema_of("RouteInput").is_valid(
        {"timeout": "5s", "methods": "GET", "auth": "required", "targetUrl": "http://a"}
    )


async def test_examples_are_taken_and_answers_fit(tmp_path: Path) -> None:
    """The examples make a configuration that works, and what is answered fits what the document says."""
    async with api(tmp_path) as (client, _):
        for path, model in (
            ("consumers", "Consumer"),
            ("upstreams", "Upstream"),
            ("routes", "Route"),
            ("keys", "Credential"),
        ):
            [operation] = [one for one in OPERATIONS if (one.method, one.path) == ("POST", f"/api/{path}")]
            status, made, _ = await client.ask(operation.path, "POST", json=operation.example)
            assert status == 201, made
            schema_of(f"{model}Answer").validate(made)
            for item in (await client.ask(f"/api/{path}"))[1]:
                schema_of(f"{model}View").validate(item)
                schema_of(f"{model}Input").validate(item)
        for path, schema in (
            ("revisions", "Revisions"),
            ("audit", "Audit"),
            ("nodes", "Nodes"),
            ("revisions/1", "RevisionChanges"),
        ):
            schema_of(schema).validate((await client.ask(f"/api/{path}"))[1])
        status, plan, _ = await client.ask("/api/routes/1?dryRun=1", "PATCH", json={"methods": ["PUT"]})
        schema_of("Plan").validate(plan)
        status, error, _ = await client.ask("/api/routes", "POST", json={"path": 1})
        schema_of("Error").validate(error)


async def test_the_page_needs_nobody_else(tmp_path: Path) -> None:
    """The page and its parts are there for everyone, under a policy that lets it load nothing from elsewhere."""
    async with api(tmp_path) as (client, _):
        client.token = ""
        status, page, response = await client.ask("/api/docs")
        assert (status, response.headers["Content-Security-Policy"]) == (200, POLICY)
        linked = re.findall(r'(?:src|href)="([^"]+)"', page)
        for path in linked:
            assert path.startswith("/api/")
            assert (await client.ask(path))[0] == 200
        assert {f"/api/docs/{name}" for name in FILES} - {"/api/docs/index.html"} <= set(linked)
        assert not re.search(r"<script(?! src)|style=|\son\w+=|https?://", page)
        assert (await client.ask("/api/docs/none"))[0] == 404
        assert (await client.ask("/api/openapi.json"))[1]["openapi"] == "3.1.0"


def test_summaries_are_english() -> None:
    """An upstream, a route: most people meet these words first on the page of the API."""
    shown = " ".join(operation.summary for operation in OPERATIONS)
    assert "Create an upstream" in shown
    assert not re.search(r"\ba [aeio]", shown)
