"""`flexgate start` without a file: both planes over a database, and the way from nothing to a route that answers."""

from __future__ import annotations

import asyncio
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.integration.test_controlplane_cli import free_ports
from tests.support.command import DEADLINE, flexgate, launch
from tests.support.deadline import eventually

PORTS = ("--port", "--admin-port", "--rest-port", "--grpc-port")


async def test_from_nothing_to_a_route_that_answers(tmp_path: Path) -> None:
    """The database is empty at first; what is applied is waited for and served; no address and no token is typed."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    typed = [part for flag, port in ports.items() for part in (flag, str(port))]
    process = await launch(tmp_path, "start", *typed)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while b"Ctrl-C" not in (line := await process.stdout.readline()):
                assert line
        assert "revision  none yet" in (await flexgate(tmp_path, "status"))[1]
        await eventually(lambda: flexgate(tmp_path, "nodes", "list"), lambda answer: "/0" in answer[1])
        # The data plane's own probe: an upstream that is there for sure.
        fields = ("name=self", "path=/self/*", f"upstream=http://127.0.0.1:{ports['--admin-port']}")
        code, output, errors = await flexgate(tmp_path, "routes", "create", *fields, "--wait", "20")
        assert (code, errors) == (0, "")
        assert "1 of 1 nodes run it" in output
        url = f"http://127.0.0.1:{ports['--port']}/self/health/live"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
        assert b"UP" in answer
        assert "forwarded" in (await flexgate(tmp_path, "explain", "/self/health/live"))[1]
        code, output, errors = await flexgate(tmp_path, "routes", "set", "self", "rewrite=x", "--dry-run-nodes")
        assert "Traceback" not in errors
    finally:
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(DEADLINE):
            await process.communicate()
    assert process.returncode == 0
    assert (await flexgate(tmp_path, "status"))[0] == 3


@pytest.mark.parametrize("name", ["FLEXGATE_CP_REST_CERT", "FLEXGATE_CP_GRPC_CERT", "FLEXGATE_CP_GRPC_TLS"])
async def test_tls_of_the_environment_is_refused(tmp_path: Path, name: str) -> None:
    """Both planes inherit it and would not find each other: that is said before anything runs."""
    code, _, errors = await flexgate(tmp_path, "start", **{name: "on"})
    assert code == 1
    assert f"{name} makes the control plane speak TLS" in errors
    assert not (tmp_path / ".run").exists()
