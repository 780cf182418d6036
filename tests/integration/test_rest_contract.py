"""The server against its own OpenAPI document: requests made from it, good and bad, alone and in sequences."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.e2e.data_plane import data_plane
from tests.integration.controlplane_node import until
from tests.integration.test_auth_rest import PASSWORD
from tests.integration.test_controlplane_app import BOSS, Client
from tests.integration.test_rest_resources import USERS, api

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ACCESS, IN_WAVES = "^/api/(auth|tokens|users)", "^/api/(explain|rollouts)"
"""Apart from the rest: a password costs a tenth of a second, and while a rollout runs nothing else is written."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("paths", "seconds"),
    [
        (("--exclude-path-regex", f"{ACCESS}|{IN_WAVES}"), 25),
        (("--include-path-regex", ACCESS), 25),
        (("--include-path-regex", IN_WAVES), 15),
    ],
    ids=["configuration", "access", "rollouts"],
)
async def test_every_request_is_answered_as_described(tmp_path: Path, paths: tuple[str, ...], seconds: int) -> None:
    """Whatever is sent, no answer is a failure of the server, and each has a status, type and body of the document."""
    async with (
        api(tmp_path) as (client, control_plane),
        data_plane(f"127.0.0.1:{control_plane.grpc_port}", tmp_path, "edge"),  # some verbs ask the nodes
    ):
        await until(lambda: control_plane.plane.nodes.live == 1)
        await _configured(client)
        arguments = [
            *("-m", "schemathesis.cli", "run", f"{client.base}/api/openapi.json"),
            *("-H", f"Authorization: Bearer {BOSS}"),
            *("--checks", CHECKS, *paths, "--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-time", str(seconds), "-n", "20", "--seed", "1", "--generation-database", "none"),
            *("--continue-on-failure", "--warnings", "off", "--no-color", "--no-shrink"),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, output.decode()[-6000:]
        assert (await client.ask("/health"))[0] == 200
        assert (await client.ask("/api/audit/verify"))[1]["valid"]


async def _configured(client: Client) -> None:
    """Something to work on: a route, a user, a token."""
    for path, body in (
        ("/api/routes", USERS),
        ("/api/users", {"name": "ada", "role": "operator", "password": PASSWORD}),
        ("/api/tokens", {"name": "ci", "role": "viewer"}),
    ):
        assert (await client.ask(path, "POST", json=body))[0] == 201
