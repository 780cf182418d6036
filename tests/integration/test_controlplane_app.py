"""A whole control plane over a file: what it serves, how it follows the file, and how it refuses to start."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse  # type: ignore[import-untyped]  # no stubs
from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]  # no stubs
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest  # type: ignore[import-untyped]  # no stubs
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub  # type: ignore[import-untyped]  # no stubs

from controlplane.app import ControlPlane, running
from controlplane.settings import Settings
from controlplane.start_error import StartError
from shared.faults import ConfigError
from shared.pb.admin_pb2 import ApplyConfigRequest, ExportConfigRequest, ListNodesRequest, ValidateConfigRequest
from shared.pb.admin_pb2_grpc import AdminStub
from shared.pb.telemetry_pb2 import ReportAck, ReportBatch
from shared.pb.telemetry_pb2_grpc import TelemetryStub
from tests.integration.controlplane_node import DEADLINE, NodeClient, until
from tests.unit.test_controlplane_telemetry import batch

SECRET = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"
GOOD = f"""
security:
  auth: {{type: apiKey, keys: [{{key: "{SECRET}", name: a}}]}}
upstreams:
  - {{name: users, url: "http://users.internal:8080"}}
  - {{name: orders, url: "http://orders.internal:8080"}}
routes:
  - {{path: /users/*, upstream: users, methods: [GET], rateLimit: {{max: 100, windowMs: 60000}}}}
  - {{path: /orders/*, upstream: orders, enabled: false}}
"""
BOSS = "the boss's token"
AS_BOSS = [("authorization", f"Bearer {BOSS}")]
BAD = GOOD.replace("upstream: orders", "upstraem: orders")


@asynccontextmanager
async def started(directory: Path, text: str = GOOD, **changes: Any) -> AsyncIterator[tuple[ControlPlane, Path]]:
    """A control plane on free ports over a file with this text."""
    file = directory / "proxy.yml"
    file.write_text(text)
    settings: dict[str, Any] = {
        "state_dir": directory / "state",
        "port": 0,
        "grpc_port": 0,
        "admin_token": BOSS,
        "api_rate_limit": 0,
    }
    settings |= changes
    async with asyncio.timeout(60), running(Settings(file, **settings)) as control_plane:
        yield control_plane, file


class Client:
    """REST, as an admin uses it, unless the request says otherwise."""

    def __init__(self, port: int, session: aiohttp.ClientSession, token: str = BOSS) -> None:
        self.token = token
        self.base = f"http://127.0.0.1:{port}"
        self.session = session

    async def ask(self, path: str, method: str = "GET", **more: Any) -> tuple[int, Any, aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        async with self.session.request(method, self.base + path, headers=headers, **more) as response:
            text = await response.text()
            return (
                response.status,
                (await response.json() if response.content_type == "application/json" else text),
                response,
            )


@asynccontextmanager
async def rest(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(control_plane.rest_port, session)


async def test_health_version_and_status(tmp_path: Path) -> None:
    """Health, version and status say that it runs, what revision it serves, and that the file is in sync."""
    async with started(tmp_path) as (control_plane, file), rest(control_plane) as client:
        for path in ("/health", "/health/live", "/health/ready"):
            status, body, _ = await client.ask(path)
            assert (status, body["status"]) == (200, "UP")
        status, body, response = await client.ask("/version")
        assert (body["name"], body["configVersion"], body["apiVersion"]) == ("flexgate-controlplane", 1, "1.0.0")
        assert response.headers["X-Config-Version"] == "1"
        assert response.headers["X-API-Version"] == "1.0.0"
        _, body, _ = await client.ask("/api/status")
        assert (body["revision"], body["source"]["file"], body["source"]["state"]) == (1, str(file), "in sync")


async def test_an_edit_reaches_nodes(tmp_path: Path) -> None:
    """Saving the file makes the next revision, and a connected node gets just the change."""
    async with started(tmp_path) as (control_plane, file), _channel(control_plane) as channel:
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        file.write_text(GOOD.replace("max: 100", "max: 7"))
        delta = await node.delta()
        assert [(upsert.kind, upsert.name) for upsert in delta.upserts] == [("route", next(_route_names(node)))]
        await node.ack(delta.nonce, 2, delta.store_epoch)
        await until(lambda: control_plane.plane.nodes.states(2)["current"] == 1)


def _route_names(node: NodeClient) -> Any:
    return (name for kind, name in node.table if kind == "route" and "users" in name)


async def test_a_bad_edit_changes_nothing(tmp_path: Path) -> None:
    """A file that goes bad is reported with line, path and suggestion; the old revision serves until it is good."""
    async with started(tmp_path) as (control_plane, file), rest(control_plane) as client:
        file.write_text(BAD)
        await until(lambda: bool(control_plane.plane.source.status.faults))
        _, body, _ = await client.ask("/api/status")
        assert (body["revision"], body["source"]["state"]) == (1, "rejected")
        fault = next(fault for fault in body["source"]["faults"] if "upstraem" in fault["path"])
        assert (fault["line"], fault["path"]) == (9, "routes[1].upstraem")
        assert "did you mean upstream" in fault["message"]
        status, ready, _ = await client.ask("/health/ready")
        assert (status, ready["status"]) == (200, "DEGRADED")
        file.write_text(GOOD.replace("max: 100", "max: 8"))
        await until(lambda: control_plane.plane.publisher.revision == 2)
        assert not control_plane.plane.source.status.faults


async def test_a_restart_keeps_nodes_current(tmp_path: Path) -> None:
    """After a restart over the same file the revision is the same, and a node that holds it gets nothing."""
    async with started(tmp_path) as (control_plane, _), _channel(control_plane) as channel:
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        held = node.held
        await node.call.done_writing()
    async with started(tmp_path) as (control_plane, _), _channel(control_plane) as channel:
        node = NodeClient(channel)
        node.held = held
        await node.connect()
        assert (await node.next()).WhichOneof("message") == "current"
    async with started(tmp_path, GOOD.replace("max: 100", "max: 9")) as (control_plane, _):
        assert control_plane.plane.publisher.revision == 2


async def test_stopping_drains(tmp_path: Path) -> None:
    """On shutdown a connected node is told to go elsewhere before the port closes."""
    async with started(tmp_path) as (control_plane, _):
        channel = _channel(control_plane)
        node = NodeClient(channel)
        await node.connect()
        await node.accept()
        leaving = asyncio.create_task(_leave(node))
    assert "shutting down" in await leaving
    await channel.close()


async def _leave(node: NodeClient) -> str:
    reason = (await node.next()).drain.reason
    await node.call.done_writing()
    return reason


async def test_nodes_are_listed_with_their_reasons(tmp_path: Path) -> None:
    """/api/nodes and the gRPC Admin show the same nodes."""
    async with (
        started(tmp_path) as (control_plane, _),
        rest(control_plane) as client,
        _channel(control_plane) as channel,
    ):
        node = NodeClient(channel, "pod/0")
        await node.connect()
        last = (await node.snapshot())[-1].snapshot
        await node.nack(last.nonce, last.revision, 0)
        await until(lambda: control_plane.plane.nodes.nacks == 1)
        _, body, _ = await client.ask("/api/nodes")
        [seen] = body["nodes"]
        assert (body["desiredRevision"], seen["id"], seen["state"], seen["nackedRevision"]) == (1, "pod/0", "nacked", 1)
        assert (await client.ask("/api/nodes?state=current"))[1]["nodes"] == []
        assert (await client.ask("/api/nodes?status=current"))[0] == 400
        listed = await AdminStub(channel).ListNodes(ListNodesRequest(), metadata=AS_BOSS)
        assert (listed.desired_revision, listed.nodes[0].id, listed.nodes[0].state) == (1, "pod/0", "nacked")


async def test_lists(tmp_path: Path) -> None:
    """Routes and upstreams in the shape of the contract, filtered, paged, and by name or id."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        _, routes, response = await client.ask("/api/routes")
        assert response.headers["X-Total-Count"] == "2"
        assert routes[0] == {
            "id": 1,
            "name": routes[0]["name"],
            "path": "/users/*",
            "upstream": "http://users.internal:8080",
            "upstreamName": "users",
            "methods": ["GET"],
            "enabled": True,
            "rateLimit": {"requests": 100, "window": "60s"},
            "circuitBreaker": {"enabled": True, "threshold": 5},
        }
        assert [route["path"] for route in (await client.ask("/api/routes?enabled=false"))[1]] == ["/orders/*"]
        assert [route["path"] for route in (await client.ask("/api/routes?methods=GET"))[1]] == ["/users/*"]
        _, first, response = await client.ask("/api/upstreams?limit=1")
        _, second, _ = await client.ask(f"/api/upstreams?limit=1&cursor={response.headers['X-Next-Cursor']}")
        assert [upstream["name"] for upstream in first + second] == ["users", "orders"]
        assert (await client.ask("/api/upstreams/orders"))[1]["id"] == 2
        assert (await client.ask("/api/routes/2"))[1]["path"] == "/orders/*"
        assert (await client.ask("/api/routes/none"))[0] == 404


@pytest.mark.parametrize("query", ["colour=red", "limit=0", "limit=1001", "limit=x", "cursor=!", "cursor=eHh4"])
async def test_unknown_filters_are_refused(tmp_path: Path, query: str) -> None:
    """A filter that does not exist must not silently match everything."""
    async with started(tmp_path) as (control_plane, _), rest(control_plane) as client:
        status, body, response = await client.ask(f"/api/routes?{query}", headers={"X-Correlation-ID": "mine"})
        assert status == 400
        assert (body["error"], body["correlationId"], response.headers["X-Correlation-ID"]) == (
            "Bad Request",
            "mine",
            "mine",
        )


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"hunter2" * 2000 + b"\r\n\r\n",
        b"GET /health?token=hunter2" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"hunter2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nCookie: \0hunter2\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_not_logged(
    tmp_path: Path, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """400, and no line in the log: it would quote what was sent, credentials too, and anybody can send it for ever."""
    async with started(tmp_path) as (control_plane, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", control_plane.rest_port)
        writer.write(request_)
        async with asyncio.timeout(DEADLINE):
            assert (await reader.readline()).split()[1] == b"400"
        writer.transport.abort()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert "hunter2" not in caplog.text


async def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """No surface shows a key, not even its hash."""
    async with (
        started(tmp_path) as (control_plane, _),
        rest(control_plane) as client,
        _channel(control_plane) as channel,
    ):
        for path in ("/api/config", "/api/config/export", "/api/routes", "/api/status"):
            status, body, _ = await client.ask(path)
            assert status == 200
            assert SECRET not in str(body)
        assert (await client.ask("/api/config"))[1]["config"]["security"]["auth"]["keys"][0]["key"] == "[redacted]"
        exported = await AdminStub(channel).ExportConfig(ExportConfigRequest(), metadata=AS_BOSS)
        assert SECRET not in str(exported)
        assert len(exported.routes) == 2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/routes", 409),
        ("PUT", "/api/routes/1", 409),
        ("PATCH", "/api/upstreams/users", 409),
        ("DELETE", "/api/keys/1", 409),
        ("POST", "/api/config/apply", 409),
        ("POST", "/api/nodes", 405),
        ("DELETE", "/health", 405),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/settings", 409),
        ("POST", "/api/transactions", 409),
        ("POST", "/api/revisions/1/rollback", 409),
        ("GET", "/api/revisions", 409),
    ],
)
async def test_writes_are_refused_with_the_way(tmp_path: Path, method: str, path: str, status: int) -> None:
    """Over a file, writes say which file to edit; errors have one shape."""
    async with started(tmp_path) as (control_plane, file), rest(control_plane) as client:
        found, body, response = await client.ask(path, method)
        assert found == status
        assert body.keys() >= {"error", "message", "correlationId"}
        if status == 409:
            assert body["message"].startswith(f"configuration comes from the file {file}; edit it")
        if status == 405:
            assert "GET" in response.headers["Allow"]


async def test_validate(tmp_path: Path) -> None:
    """A document is checked as a whole, over REST and gRPC, and nothing changes."""
    async with (
        started(tmp_path) as (control_plane, _),
        rest(control_plane) as client,
        _channel(control_plane) as channel,
    ):
        _, body, _ = await client.ask("/api/config/validate", "POST", data=BAD)
        assert body["valid"] is False
        assert any(error["path"] == "routes[1].upstraem" and error["line"] == 9 for error in body["errors"])
        _, body, _ = await client.ask("/api/config/validate", "POST", data=GOOD)
        assert (body["valid"], body["errors"]) == (True, [])
        assert (await client.ask("/api/config/validate", "POST", data=b"\xff"))[0] == 400
        verdict = await AdminStub(channel).ValidateConfig(ValidateConfigRequest(yaml=BAD), metadata=AS_BOSS)
        assert any("line 9" in error.message for error in verdict.errors)
        assert control_plane.plane.publisher.revision == 1


async def test_grpc_writes_say_what_to_do(tmp_path: Path) -> None:
    """What gRPC cannot do over a file is FAILED_PRECONDITION, with the file to edit."""
    async with started(tmp_path) as (control_plane, file), _channel(control_plane) as channel:
        with pytest.raises(aio.AioRpcError) as error:
            await AdminStub(channel).ApplyConfig(ApplyConfigRequest(yaml=GOOD), metadata=AS_BOSS)
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert str(file) in str(error.value.details())


async def test_health_and_reflection(tmp_path: Path) -> None:
    """The gRPC port has the standard health service, and tells what it serves."""
    async with started(tmp_path) as (control_plane, _), _channel(control_plane) as channel:
        answer = await HealthStub(channel).Check(HealthCheckRequest())
        assert answer.status == HealthCheckResponse.SERVING
        call = ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ServerReflectionRequest(list_services="")]), metadata=AS_BOSS
        )
        async for reply in call:
            names = {service.name for service in reply.list_services_response.service}
            assert names >= {"flexgate.v1.ConfigDiscovery", "flexgate.v1.Telemetry", "flexgate.v1.Admin"}


async def test_reports_become_metrics(tmp_path: Path) -> None:
    """Batches are acknowledged, counted once even when repeated, and shown by /api/metrics and /metrics."""
    async with (
        started(tmp_path) as (control_plane, _),
        rest(control_plane) as client,
        _channel(control_plane) as channel,
    ):
        batches = [batch(1, 3), batch(2, 1, status=503), batch(1, 3), batch(2, 1, status=503)]
        assert await _report(channel, batches) == [1, 2, 2, 2]
        assert await _report(channel, batches[2:]) == [2, 2]
        _, body, _ = await client.ask("/api/metrics")
        assert (body["summary"]["totalRequests"], body["summary"]["errorRate"]) == (4, 25.0)
        assert body["statusCodes"] == [{"code": 200, "count": 3}, {"code": 503, "count": 1}]
        assert body["requestRate"]["unit"] == "requests/s"
        assert (await client.ask("/api/metrics?range=24h"))[0] == 400
        _, text, _ = await client.ask("/metrics")
        assert 'http_requests_total{method="GET",route="r",status="200"} 3.0' in text
        assert 'http_request_duration_ms_bucket{le="10",method="GET",route="r",status="200"} 0.0' in text
        assert 'http_request_duration_ms_bucket{le="25",method="GET",route="r",status="200"} 3.0' in text
        assert 'http_request_duration_ms_sum{method="GET",route="r",status="200"} 36.0' in text
        assert "report_batches_repeated_total 4.0" in text
        assert "config_revision 1.0" in text


async def test_a_report_without_identity_is_refused(tmp_path: Path) -> None:
    """A batch that cannot be deduplicated is not counted."""
    async with started(tmp_path) as (control_plane, _), _channel(control_plane) as channel:
        with pytest.raises(aio.AioRpcError) as error:
            await _report(channel, [ReportBatch(node_id="n", seq=1)])
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_nodes_and_operators_have_tokens_of_their_own(tmp_path: Path) -> None:
    """The node token opens the stream and nothing else, the admin token all the rest, and nothing opens without."""
    async with started(tmp_path, node_token="node") as (control_plane, _), _channel(control_plane) as channel:
        helper = [("authorization", "Bearer node")]
        node = NodeClient(channel)
        for metadata in ([], AS_BOSS, helper * 2):
            node._call = node._stub.Stream(metadata=metadata)
            assert (await node.end())[0] is grpc.StatusCode.UNAUTHENTICATED
        await node.connect(helper)
        await node.accept()
        admin = AdminStub(channel)
        for metadata in ([], helper, AS_BOSS * 2):
            with pytest.raises(aio.AioRpcError) as error:
                await admin.ListNodes(ListNodesRequest(), metadata=metadata)
            assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert len((await admin.ListNodes(ListNodesRequest(), metadata=AS_BOSS)).nodes) == 1
        await HealthStub(channel).Check(HealthCheckRequest())


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (directory / "cert.pem").write_bytes(signed.public_bytes(pem))
    (directory / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return directory / "cert.pem", directory / "key.pem"


async def test_tls(tmp_path: Path) -> None:
    """With a certificate the gRPC port speaks TLS only; with authorities, clients need a certificate."""
    cert, key = certificate(tmp_path)
    authority, private = cert.read_bytes(), key.read_bytes()
    anonymous = grpc.ssl_channel_credentials(authority)
    known = grpc.ssl_channel_credentials(authority, private, authority)
    async with started(tmp_path, grpc_cert=cert, grpc_key=key) as (control_plane, _):
        assert await _lists_nodes(control_plane, anonymous)
        async with _channel(control_plane) as channel:
            with pytest.raises(aio.AioRpcError):
                await AdminStub(channel).ListNodes(ListNodesRequest(), metadata=AS_BOSS, timeout=DEADLINE)
    async with started(tmp_path, grpc_cert=cert, grpc_key=key, grpc_client_ca=cert) as (control_plane, _):
        assert await _lists_nodes(control_plane, known)
        assert not await _lists_nodes(control_plane, anonymous)


@pytest.mark.parametrize("content", [None, "no PEM"])
async def test_a_bad_certificate_is_one_line(tmp_path: Path, content: str | None) -> None:
    """A certificate that is missing or broken refuses the start, and names the file."""
    _, key = certificate(tmp_path)
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    with pytest.raises(StartError, match=r"bad\.pem"):
        async with started(tmp_path, grpc_cert=bad, grpc_key=key):
            pass


async def _lists_nodes(control_plane: ControlPlane, credentials: grpc.ChannelCredentials) -> bool:
    """Whether a client with these credentials is served."""
    async with aio.secure_channel(f"localhost:{control_plane.grpc_port}", credentials) as channel:
        try:
            await AdminStub(channel).ListNodes(ListNodesRequest(), metadata=AS_BOSS, timeout=DEADLINE)
        except aio.AioRpcError:
            return False
    return True


async def test_what_refuses_to_start_starts_nothing(tmp_path: Path) -> None:
    """Bad configuration, a taken port and a taken state directory are refused, and leave the ports free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name in ("port", "grpc_port"):
            with pytest.raises(StartError, match=rf"127.0.0.1:{port} .*address already in use"):
                async with started(tmp_path, **{name: port}):
                    pass
    with pytest.raises(ConfigError):
        async with started(tmp_path, BAD, port=port):
            pass
    async with started(tmp_path, port=port) as (control_plane, file):
        assert control_plane.rest_port == port
        settings = Settings(file, state_dir=tmp_path / "state", port=0, grpc_port=0)
        with pytest.raises(StartError, match="in use by another control plane"):
            async with running(settings):
                pass


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        (BAD, (), "proxy.yml:9: routes[1].upstraem"),
        ("routes: [", (), "proxy.yml:"),
        (GOOD, ("--state-dir", "proxy.yml/state"), "flexgate-controlplane: state directory proxy.yml/state"),
        (None, (), "cannot read proxy.yml"),
    ],
)
async def test_the_program_refuses_in_plain_lines(
    tmp_path: Path, text: str | None, argv: tuple[str, ...], message: str
) -> None:
    """One line for each reason on stderr, exit code 1, no traceback."""
    if text is not None:
        (tmp_path / "proxy.yml").write_text(text)
    command = ("-m", "controlplane", "--config", "proxy.yml", "--port", "0", "--grpc-port", "0", *argv)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=tmp_path, stderr=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(Path.cwd())}
    )
    async with asyncio.timeout(DEADLINE):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert message in errors.decode()
    assert "Traceback" not in errors.decode()


def _channel(control_plane: ControlPlane) -> aio.Channel:
    return aio.insecure_channel(f"127.0.0.1:{control_plane.grpc_port}")


async def _report(channel: aio.Channel, batches: list[ReportBatch]) -> list[int]:
    """The acknowledgements of these batches, sent on one stream."""
    call = TelemetryStub(channel).Report()
    acks = []
    async with asyncio.timeout(DEADLINE):
        for report in batches:
            await call.write(report)
            ack = await call.read()
            assert isinstance(ack, ReportAck), await call.code()
            acks.append(ack.seq)
        await call.done_writing()
        assert await call.read() is aio.EOF
    return acks
