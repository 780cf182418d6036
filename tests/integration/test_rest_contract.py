"""The server against its own OpenAPI document: requests made from it, good and bad, alone and in sequences."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.integration.test_controlplane_app import BOSS
from tests.integration.test_rest_resources import api

SECONDS = 25
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
UNASKED = "^/api/(auth|tokens|users|explain|rollouts)"
"""What would log the tester out, costs an argon2 hash each time, or needs a node: their own tests ask these."""


@pytest.mark.long
async def test_every_request_is_answered_as_described(tmp_path: Path) -> None:
    """Whatever is sent, no answer is a failure of the server, and each has a status, type and body of the document."""
    async with api(tmp_path) as (client, _):
        arguments = [
            *(
                "-m",
                "schemathesis.cli",
                "run",
                f"{client.base}/api/openapi.json",
                "-H",
                f"Authorization: Bearer {BOSS}",
            ),
            *("--checks", CHECKS, "--exclude-path-regex", UNASKED, "--phases", "examples,coverage,fuzzing,stateful"),
            *("--max-time", str(SECONDS), "-n", "20", "--seed", "1", "--generation-database", "none"),
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
