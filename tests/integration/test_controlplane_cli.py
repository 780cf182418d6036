"""`flexgate` as its users run it: a real process, its output and its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc import aio

from controlplane.cli.demo_config import KEY, demo_config
from controlplane.cli.screen import age
from shared.document import read
from tests.integration.controlplane_node import NodeClient, until
from tests.integration.test_controlplane_app import BAD, BOSS, GOOD, started
from tests.support.command import DEADLINE, flexgate, launch
from tests.support.deadline import eventually

QUIET = 60.0
"""A heartbeat interval in which a node that says nothing of itself stays connected, however slow the machine is."""


async def test_init_writes_a_configuration_that_validates(tmp_path: Path) -> None:
    """The starter loads without faults and warnings, and is not overwritten unless forced."""
    assert (await flexgate(tmp_path, "init"))[0] == 0
    code, output, errors = await flexgate(tmp_path, "validate", "proxy.yml")
    assert (code, errors) == (0, "")
    assert output.startswith("proxy.yml: good (")
    (tmp_path / "proxy.yml").write_text("mine")
    code, _, errors = await flexgate(tmp_path, "init")
    assert (code, errors) == (1, "proxy.yml is already there; --force overwrites it\n")
    assert (tmp_path / "proxy.yml").read_text() == "mine"
    assert (await flexgate(tmp_path, "init", "--force"))[0] == 0
    assert (await flexgate(tmp_path, "init", "none/proxy.yml"))[0] == 1


async def test_validate_prints_every_fault(tmp_path: Path) -> None:
    """Each fault is FILE:LINE: path: message, and the exit code is 1."""
    (tmp_path / "bad.yml").write_text(BAD.replace("max: 100", "maxx: 100"))
    code, output, errors = await flexgate(tmp_path, "validate", "bad.yml")
    assert (code, output) == (1, "")
    lines = errors.splitlines()
    assert "bad.yml:8: routes[0].rateLimit.maxx: unknown key; did you mean max?" in lines
    assert any(line.startswith("bad.yml:9: routes[1].upstraem: unknown key; did you mean upstream?") for line in lines)


async def test_validate_warns_and_passes(tmp_path: Path) -> None:
    """What is accepted but not enforced yet is a warning, and the exit code is 0."""
    (tmp_path / "proxy.yml").write_text(GOOD + "tracing: {otlp: {endpoint: 'http://otel:4317'}}\n")
    code, _, errors = await flexgate(tmp_path, "validate", "proxy.yml")
    assert code == 0
    assert re.search(r"^warning: proxy.yml:\d+: tracing.*not enforced yet", errors, re.MULTILINE)


async def test_status_and_nodes(tmp_path: Path) -> None:
    """Who runs which revision and why not, as a table and as JSON; the file's faults too."""
    async with started(tmp_path, heartbeat=QUIET) as (control_plane, file):
        where = ("--url", f"http://127.0.0.1:{control_plane.rest_port}", "--token", BOSS)
        assert "no data plane has connected yet" in (await flexgate(tmp_path, "nodes", "list", *where))[1]
        async with aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}") as channel:
            node = NodeClient(channel, "pod[/0]")
            await node.connect()
            last = (await node.snapshot())[-1].snapshot
            await node.nack(last.nonce, 1, 0)
            await until(lambda: control_plane.plane.nodes.nacks == 1)
            file.write_text(BAD)
            await until(lambda: bool(control_plane.plane.source.status.faults))
            code, output, _ = await flexgate(tmp_path, "status", *where)
            assert code == 0
            assert re.search(r"pod\[/0\] +nacked +- +1 .*refused revision 1: no reason given", output)
            assert "line 9: routes[1].upstraem: unknown key" in output
            assert "revision 1 keeps serving" in output
            _, output, _ = await flexgate(tmp_path, "nodes", "list", *where, "--output", "json")
            assert json.loads(output)["nodes"][0]["state"] == "nacked"


@pytest.mark.parametrize("command", ["status", "nodes list"])
async def test_an_unreachable_control_plane_is_one_line(tmp_path: Path, command: str) -> None:
    """Exit code 3 and one clear line."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, output, errors = await flexgate(tmp_path, *command.split(), "--url", url)
    assert (code, output) == (3, "")
    assert errors == f"no control plane answers at {url}: Connection refused\n"


async def test_a_missing_token_is_told(tmp_path: Path) -> None:
    """What the control plane refuses is said in its own words, with what to do; exit code 4."""
    async with started(tmp_path) as (control_plane, _):
        url = f"http://127.0.0.1:{control_plane.rest_port}"
        code, _, errors = await flexgate(tmp_path, "nodes", "list", "--url", url)
        assert code == 4
        assert "401" in errors
        assert "bearer token" in errors
        assert "FLEXGATE_TOKEN" in errors
        assert (await flexgate(tmp_path, "nodes", "list", "--url", url, "--token", BOSS))[0] == 0


async def test_the_first_token_is_found_on_this_machine(tmp_path: Path) -> None:
    """Where the control plane was started, `flexgate` needs no token; a file of another one's is refused as any."""
    async with started(tmp_path, state_dir=tmp_path / ".flexgate/control-plane", admin_token="") as (control_plane, _):
        url = f"http://127.0.0.1:{control_plane.rest_port}"
        assert (await flexgate(tmp_path, "nodes", "list", "--url", url))[0] == 0
        (tmp_path / ".flexgate/control-plane/admin-token").write_text("fgt_other\n")
        code, _, errors = await flexgate(tmp_path, "nodes", "list", "--url", url)
        assert (code, "not known here" in errors) == (4, True)


def test_ages() -> None:
    """Durations in one unit."""
    assert [age(seconds) for seconds in (0.4, 59, 60, 3599, 7200, 200000)] == ["0s", "59s", "1m", "59m", "2h", "2d"]


def test_the_demo_is_the_starter_with_a_keyed_route() -> None:
    """The demo's configuration loads without warnings, and leads to the upstream that was asked for."""
    document = read(demo_config("127.0.0.1:1234"))
    assert not document.warnings
    assert [route.path for route in document.config.routes if route.auth.mode == "required"] == ["/keyed/*"]
    assert {upstream.url for upstream in document.config.upstreams} == {"http://127.0.0.1:1234"}


async def test_the_demo_follows_its_port_until_it_is_edited(tmp_path: Path) -> None:
    """A start that was refused leaves no configuration behind that leads to the port of somebody else."""
    file = tmp_path / ".run" / "demo.yml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = ["start", "--demo", "--port", str(taken.getsockname()[1]), "--demo-port"]
        for port in ("1234", "5678"):
            assert (await flexgate(tmp_path, *refused, port))[0] == 1
            assert file.read_text() == demo_config(f"127.0.0.1:{port}")
        mine = file.read_text() + "# mine\n"
        file.write_text(mine)
        _, _, errors = await flexgate(tmp_path, *refused, "1234")
        assert file.read_text() == mine
        assert "note: .run/demo.yml has edits of yours and is kept; nothing in it leads to 127.0.0.1:1234" in errors
        assert "note" not in (await flexgate(tmp_path, *refused, "5678"))[2]


PORTS = ("--port", "--admin-port", "--rest-port", "--grpc-port", "--demo-port")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, int], list[str]]]:
    """`flexgate start --demo`, ready: the process, its ports, and what it printed."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    arguments = [part for flag, port in ports.items() for part in (flag, str(port))]
    process = await launch(directory, "start", "--demo", *arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    printed: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE):
            while "Ctrl-C" not in "".join(printed[-1:]):
                line = await process.stdout.readline()
                assert line, (await process.stderr.read()).decode()
                printed.append(line.decode())
        yield process, ports, printed
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(DEADLINE):
            await process.communicate()


def status_of(url: str, **headers: str) -> int:
    """The status that the gateway answers with."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def child_of(parent: int, name: bytes) -> int | None:
    """The child of a process that has this in its command; None where the system does not tell."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        return None
    pids = [int(pid) for pid in children.read_text().split()]
    [found] = [pid for pid in pids if name in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


async def test_start_demo(tmp_path: Path) -> None:
    """One command: traffic goes through, what it prints is true, SIGTERM stops everything with exit code 0."""
    async with demo(tmp_path) as (process, ports, printed):
        gateway = f"http://127.0.0.1:{ports['--port']}"
        text = "".join(printed)
        for hint in (f"curl -i {gateway}/demo/hello", f"X-API-Key: {KEY}", "429", " status\n", "admin-token)"):
            assert hint in text
        assert await asyncio.to_thread(status_of, f"{gateway}/demo/hello") == 200
        assert await asyncio.to_thread(status_of, f"{gateway}/keyed/hello") == 401
        assert await asyncio.to_thread(status_of, f"{gateway}/keyed/hello", X_API_Key=KEY) == 200
        codes = [200]
        while codes[-1] == 200 and len(codes) < 100:  # on a slow machine the bucket gets a token back, now and then
            codes.append(await asyncio.to_thread(status_of, f"{gateway}/limited/hello"))
        assert (len(codes) > 20, codes[-1]) == (True, 429)
        _, output, _ = await flexgate(tmp_path, "status")  # found by the state directory
        assert "1 current" in output
        token = (tmp_path / ".run/control-plane/admin-token").read_text().strip()
        assert token not in text
        assert token not in (tmp_path / ".run/control-plane.log").read_text()
        api = f"http://127.0.0.1:{ports['--rest-port']}/api/nodes"
        assert await asyncio.to_thread(status_of, api, Authorization=f"Bearer {token}") == 200
        assert await asyncio.to_thread(status_of, api) == 401
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            assert await process.wait() == 0
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "something was left running"


async def test_a_child_that_dies_stops_the_rest(tmp_path: Path) -> None:
    """When one program dies, its reason is told, the others are stopped, and the exit code is not 0."""
    async with demo(tmp_path) as (process, ports, _):
        assert process.stderr is not None
        victim = child_of(process.pid, b"controlplane.demo")
        if victim is None:
            pytest.skip("this system does not tell the children of a process in /proc")
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            errors = (await process.stderr.read()).decode()
            assert await process.wait() == 1
        assert "demo upstream stopped (signal 9)" in errors
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "something was left running"


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tell of the death of a parent")
async def test_a_killed_start_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGKILL to `flexgate start`: what it started drains, stops and frees its ports."""

    async def listening() -> int:
        probes = [socket.socket() for _ in ports]
        results = [probe.connect_ex(("127.0.0.1", port)) for probe, port in zip(probes, ports.values(), strict=True)]
        for probe in probes:
            probe.close()
        return results.count(0)

    async def log() -> str:
        return (tmp_path / ".run/data-plane.log").read_text()

    async with demo(tmp_path) as (process, ports, _):
        assert await listening() == len(ports)
        process.kill()
        await process.wait()
        await eventually(listening, lambda count: not count)
        await eventually(log, lambda text: '"event":"stopped"' in text)


async def test_start_refuses_before_anything_runs(tmp_path: Path) -> None:
    """A taken port, a bad configuration: one clear line, exit code 1, and no log of a child."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True)) | {"--rest-port": str(port)}
        code, _, errors = await flexgate(
            tmp_path, "start", "--demo", *(part for pair in ports.items() for part in pair)
        )
        assert code == 1
        assert re.fullmatch(rf"port {port} of 127.0.0.1 cannot be used .*--rest-port\n", errors)
    (tmp_path / "proxy.yml").write_text(BAD)
    code, _, errors = await flexgate(tmp_path, "start", "--config", "proxy.yml")
    assert code == 1
    assert "proxy.yml:9: routes[1].upstraem" in errors
    assert not list((tmp_path / ".run").glob("*.log"))
