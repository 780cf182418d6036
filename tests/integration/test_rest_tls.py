"""TLS on the REST port: what it speaks, whose certificate it shows and for how long, and how it refuses to start."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.certificate import CertificateFiles
from controlplane.listener import rest_tls
from controlplane.settings import Settings
from controlplane.start_error import StartError
from tests.integration.test_auth_rest import PASSWORD, add_user
from tests.integration.test_controlplane_app import BOSS, Client, started
from tests.support.certificate import Certificate
from tests.support.deadline import eventually


@pytest.fixture
def server(tmp_path: Path) -> Certificate:
    """The certificate of the REST port."""
    return Certificate(tmp_path, "server")


@asynccontextmanager
async def secured(port: int, trusted: Path, token: str = BOSS) -> AsyncIterator[Client]:
    """REST over TLS by a client that checks whom it speaks to."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=trusted))
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        client = Client(port, session, token)
        client.base = f"https://127.0.0.1:{port}"
        yield client


async def shown(port: int) -> str:
    """The certificate that a new connection is shown, as PEM."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log has against certificates."""
    found = [record for record in caplog.records if record.getMessage() == "listener.certificate"]
    return [record.fields["reason"] for record in found]  # type: ignore[attr-defined]  # that our log puts there


async def test_the_rest_port_speaks_tls_only(tmp_path: Path, server: Certificate) -> None:
    """Requests over TLS are served; plain HTTP on the same port gets no answer."""
    async with started(tmp_path, rest_cert=server.cert, rest_key=server.key) as (control_plane, _):
        port = control_plane.rest_port
        async with secured(port, server.cert) as client:
            assert (await client.ask("/api/nodes"))[0] == 200
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/health/live")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
@pytest.mark.parametrize(("newest", "served"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
async def test_nothing_older_than_tls_12(tmp_path: Path, server: Certificate, newest: str, served: bool) -> None:
    """A client that knows TLS 1.1 at most is turned away, whatever ciphers it takes."""
    context = ssl.create_default_context(cafile=server.cert)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion[newest]
    async with started(tmp_path, rest_cert=server.cert, rest_key=server.key) as (control_plane, _):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", control_plane.rest_port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            assert not served
        else:
            assert served
            writer.transport.abort()


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, server: Certificate) -> None:
    """New connections see the new one within seconds; a connection that is open is neither closed nor troubled."""
    renewed = Certificate(tmp_path, "renewed")
    async with started(tmp_path, rest_cert=server.cert, rest_key=server.key) as (control_plane, _):
        port = control_plane.rest_port
        async with secured(port, server.cert) as client:
            assert (await client.ask("/api/nodes"))[0] == 200
            server.become(renewed)
            await eventually(lambda: shown(port), lambda pem: pem == renewed.cert.read_text())
            # It still trusts the first certificate alone, so this goes over the first connection.
            assert (await client.ask("/api/nodes"))[0] == 200
        async with secured(port, renewed.cert) as client:
            assert (await client.ask("/api/nodes"))[0] == 200


async def test_the_grpc_ports_files_are_followed_too(tmp_path: Path, server: Certificate) -> None:
    """Its certificate changes with its files, and /metrics tells when each of both ends."""
    renewed = Certificate(tmp_path, "renewed", good=timedelta(days=9))
    files: dict[str, Any] = {"grpc_cert": server.cert, "grpc_key": server.key}
    async with started(tmp_path, rest_cert=server.cert, rest_key=server.key, **files) as (control_plane, _):
        server.become(renewed)
        await eventually(lambda: shown(control_plane.grpc_port), lambda pem: pem == renewed.cert.read_text())
        await eventually(lambda: shown(control_plane.rest_port), lambda pem: pem == renewed.cert.read_text())
        async with secured(control_plane.rest_port, renewed.cert) as client:
            text = (await client.ask("/metrics"))[1]
        ends = dict(line.split() for line in text.splitlines() if "not_after_seconds" in line and "#" not in line)
        assert float(ends["rest_certificate_not_after_seconds"]) == float(ends["grpc_certificate_not_after_seconds"])
        assert float(ends["rest_certificate_not_after_seconds"]) > time.time() + 7 * 86_400


async def test_files_that_do_not_fit_change_nothing(
    tmp_path: Path, server: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a renewal, or a file that is gone, is told once; what was shown is shown on, until the files are good."""
    looks: asyncio.Queue[None] = asyncio.Queue()
    go_on = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        looks.put_nowait(None)
        await go_on.wait()
        go_on.clear()

    async def look() -> None:
        go_on.set()
        await looks.get()

    files, context = _made(server)
    renewed = Certificate(tmp_path, "renewed", good=timedelta(days=9))
    following = asyncio.create_task(files.follow(context, sleep))
    await looks.get()
    before = files.not_after
    server.cert.write_bytes(renewed.cert.read_bytes())
    for _ in range(3):
        await look()
    server.key.unlink()
    for _ in range(3):
        await look()
    assert files.not_after == before
    told = [reason for reason in reasons(caplog) if "server.key" in reason]
    assert len(told) == 2
    assert "the key is not that of the certificate" in told[0]
    assert "cannot read" in told[1]
    async with _serving(context) as port:
        assert await shown(port) != renewed.cert.read_text()
        server.key.write_bytes(renewed.key.read_bytes())
        await look()
        assert await shown(port) == renewed.cert.read_text()
    assert files.not_after > before
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def _made(certificate: Certificate) -> tuple[CertificateFiles, ssl.SSLContext]:
    made = rest_tls(Settings(rest_cert=certificate.cert, rest_key=certificate.key))
    assert made.files is not None
    assert made.context is not None
    return made.files, made.context


@asynccontextmanager
async def _serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_bad_files_refuse_the_start(tmp_path: Path, server: Certificate) -> None:
    """Each is one line that names the files and what is wrong; nothing serves, and no state is made."""
    other, locked = Certificate(tmp_path, "other"), Certificate(tmp_path, "locked", passphrase=b"secret")
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "binary.pem").write_bytes(b"\xff\xfe")
    for cert, key, reason in (
        (tmp_path / "none.pem", server.key, r"cannot read .*none\.pem: No such file"),
        (tmp_path / "text.pem", server.key, r"REST port with .*text\.pem"),
        (tmp_path / "binary.pem", server.key, r"binary\.pem is no PEM file"),
        (server.cert, other.key, "the key is not that of the certificate"),
        (locked.cert, locked.key, "the key has a passphrase"),
    ):
        with pytest.raises(StartError, match=reason):
            async with started(tmp_path, rest_cert=cert, rest_key=key):
                pass
    assert not (tmp_path / "state" / "flexgate.db").exists()


async def test_an_expired_certificate_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, server: Certificate
) -> None:
    """It serves, since some clients look away, but the log says so; one that is good says nothing."""
    _made(server)
    assert reasons(caplog) == []
    _made(Certificate(tmp_path, "old", good=timedelta(hours=1)))
    assert "has ended" in reasons(caplog)[0]


async def test_cookies_of_a_login_over_tls_are_secure(tmp_path: Path, server: Certificate) -> None:
    """Without a public URL, too: the flag and the prefixes are there, and the page's own origin is https."""
    async with started(tmp_path, rest_cert=server.cert, rest_key=server.key) as (control_plane, _):
        port = control_plane.rest_port
        async with secured(port, server.cert) as admin, secured(port, server.cert, token="") as page:
            await add_user(admin)
            body: dict[str, Any] = {"name": "ada", "password": PASSWORD, "cookies": True}
            foreign = {"Origin": f"http://127.0.0.1:{port}"}
            assert (await page.ask("/api/auth/login", "POST", json=body, headers=foreign))[0] == 403
            own = {"Origin": page.base}
            status, grant, response = await page.ask("/api/auth/login", "POST", json=body, headers=own)
            assert status == 200
            assert set(response.cookies) == {"__Host-flexgate", "__Secure-flexgate-refresh"}
            assert all(cookie["secure"] for cookie in response.cookies.values())
            own["X-CSRF-Token"] = grant["csrfToken"]
            assert (await page.ask("/api/routes", "POST", headers=own))[0] == 409
