"""The stream over TLS: whom the node trusts, who it shows itself to be, and what happens when its files are gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dataplane.settings import StreamTls
from tests.integration.stream_control_plane import control_plane, node
from tests.integration.stream_target import table


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate for localhost that signs itself, and its key, as PEM files."""

    cert: Path
    key: Path

    def server(self, *, client_ca: bool = False) -> grpc.ServerCredentials:
        cert, key = self.cert.read_bytes(), self.key.read_bytes()
        return grpc.ssl_server_credentials([(key, cert)], cert if client_ca else None, client_ca)


def identity(directory: Path, name: str) -> Identity:
    """A new one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    made = Identity(directory / f"{name}.pem", directory / f"{name}.key")
    made.cert.write_bytes(signed.public_bytes(pem))
    made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return made


@pytest.fixture
def own(tmp_path: Path) -> Identity:
    """Who both sides are."""
    return identity(tmp_path, "own")


async def test_the_stream_runs_over_tls(tmp_path: Path, own: Identity) -> None:
    """A control plane with a trusted certificate is followed."""
    async with (
        control_plane(credentials=own.server()) as cp,
        node(tmp_path, cp.address, tls=StreamTls(own.cert)),
    ):
        stream = await cp.stream()
        await stream.snapshot(table("a"), 1)
        assert (await stream.answer()).ack.revision == 1


async def test_the_node_shows_its_certificate(tmp_path: Path, own: Identity) -> None:
    """Mutual TLS: with certificate and key the node is let in."""
    async with (
        control_plane(credentials=own.server(client_ca=True)) as cp,
        node(tmp_path, cp.address, tls=StreamTls(own.cert, own.cert, own.key)),
    ):
        assert (await cp.stream()).hello.node_id == "n/0"


@pytest.mark.parametrize("mutual", [False, True], ids=["a control plane nobody vouches for", "a node without papers"])
async def test_strangers_do_not_talk(tmp_path: Path, own: Identity, mutual: bool) -> None:
    """The node tells no one who it is where either side is not trusted; the status tells why there is no stream."""
    other = identity(tmp_path, "other")
    async with (
        control_plane(credentials=own.server(client_ca=mutual)) as cp,
        node(tmp_path, cp.address, tls=StreamTls(own.cert if mutual else other.cert)) as one,
    ):
        await one.pauses.bell.until(lambda: len(one.pauses.asked) >= 2, "two attempts")
        assert "unavailable" in one.discovery.status.last_error
        assert cp.streams_seen == 0


async def test_files_are_read_at_each_dial(tmp_path: Path, own: Identity) -> None:
    """A file that is gone is told by name; once it is there, renewed, the node gets through."""
    later = tmp_path / "later.pem"
    async with (
        control_plane(credentials=own.server()) as cp,
        node(tmp_path, cp.address, tls=StreamTls(later)) as one,
    ):
        await one.pauses.bell.until(lambda: bool(one.pauses.asked), "an attempt")
        assert one.discovery.status.last_error == f"control plane {cp.address}: {later}: No such file or directory"
        await asyncio.to_thread(later.write_bytes, await asyncio.to_thread(own.cert.read_bytes))
        assert (await cp.stream()).hello.node_id == "n/0"
