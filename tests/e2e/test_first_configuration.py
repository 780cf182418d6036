"""A node that has never been given a configuration: its ports are those of the first one, not what it began with."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.process import running
from tests.support.certificate import Certificate
from tests.support.client import RawClient, ask, connected, get
from tests.support.deadline import DEADLINE
from tests.support.origin import echo, serving


def free_port() -> int:
    """One that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def node(address: str, directory: Path, *flags: str | int) -> Any:
    """A data plane that has nothing on disk."""
    fixed = "--host", "127.0.0.1", "--cache-dir", directory / "cache", "--node-id", "pod", "--drain-delay", 0
    return running("dataplane", "--control-plane", address, *fixed, *flags)


async def test_a_new_node_is_never_served_in_plain_text(tmp_path: Path) -> None:
    """With `proxy.tls` the traffic port answers 503 until the configuration comes, and then speaks TLS alone."""
    certificate = Certificate(tmp_path, "server")
    tls = {"cert": str(certificate.cert), "key": str(certificate.key)}
    port = free_port()
    async with serving(echo) as origin, control_plane(tmp_path, configured(origin.url, proxy={"tls": tls})) as control:
        await control.process.kill()
        async with node(control.address, tmp_path, "--port", port, "--admin-port", 0) as process:
            await process.event("listening")
            assert (await ask(port, get("/load/x"))).status == 503
            await control.start()
            await process.event("listening", nth=2)
            async with connected(port) as plain:
                await plain.send(get("/load/x"))
                assert await plain.closed()
            context = ssl.create_default_context(cafile=certificate.cert)
            async with asyncio.timeout(DEADLINE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            assert (await RawClient(reader, writer).ask(get("/load/x"))).status == 200
            writer.transport.abort()


async def test_a_new_node_takes_the_ports_of_its_configuration(tmp_path: Path) -> None:
    """As it would after a restart, when it has them on disk; what a flag says stays."""
    port, flag = free_port(), free_port()
    document = configured("http://127.0.0.1:9", proxy={"port": port, "adminPort": 1})
    async with (
        control_plane(tmp_path, document) as control,
        node(control.address, tmp_path, "--admin-port", flag) as process,
    ):
        await process.event("listening", port=port, adminPort=flag)
        assert (await ask(port, get("/nowhere"))).status == 404
        assert (await ask(flag, get("/health/ready"))).status == 200


async def test_a_certificate_that_is_not_there_is_a_refused_revision(tmp_path: Path) -> None:
    """The node tells which file, and goes on waiting for a configuration that it can serve."""
    document = configured("http://127.0.0.1:9", proxy={"tls": {"cert": "none.pem", "key": "none.key"}})
    async with (
        control_plane(tmp_path, document) as control,
        node(control.address, tmp_path, "--port", 0, "--admin-port", 0) as process,
    ):
        port = (await process.event("listening"))["port"]
        refused = await process.event("config.refused")
        assert "none.pem" in str(refused)
        assert (await ask(port, get("/load/x"))).status == 503
        control.write(configured("http://127.0.0.1:9"))
        await process.event("config.applied")
        assert (await ask(port, get("/nowhere"))).status == 404
