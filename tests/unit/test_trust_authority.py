"""The authority: what it signs, what it refuses, and what its certificates are good for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given
from hypothesis import strategies as st

from controlplane.trust.authority import Authority, UnusableAuthority
from controlplane.trust.refusal import Refusal
from shared.node_uri import CONTROL_PLANE, NodeName, parse

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Names = list[x509.GeneralName]


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def request(names: Names, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None, subject: str = "") -> str:
    """A signing request for these names."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder(x509.Name(parts))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def certificate(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_a_node_certificate_names_its_node() -> None:
    """It is signed by the authority, names the node with its labels, and is good for a client for its lifetime."""
    authority = Authority.create(NOW)
    issued = authority.sign_node(request([uri("flexgate://node/a")]), NodeName("a", {"zone": "x"}), NOW, DAY)
    made = certificate(issued.pem)
    made.verify_directly_issued_by(authority.certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [parse(name.value) for name in names] == [NodeName("a", {"zone": "x"})]
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (issued.serial, issued.not_after) == (f"{made.serial_number:x}", NOW + DAY)


def test_a_control_plane_certificate_has_the_name_that_nodes_look_for() -> None:
    """Servers are verified by the name that no node can have, and by those that were asked for."""
    authority = Authority.create(NOW)
    pem, key = authority.sign_server(["cp.example.com", "10.0.0.7"], NOW)
    assert "PRIVATE KEY" in key
    store = Store([authority.certificate])
    policy = PolicyBuilder().store(store).time(NOW)
    for name in (CONTROL_PLANE, "cp.example.com"):
        policy.build_server_verifier(x509.DNSName(name)).verify(certificate(pem), [])
    with pytest.raises(x509.verification.VerificationError):
        node = authority.sign_node(request([uri("flexgate://node/a")]), NodeName("a"), NOW, DAY)
        policy.build_server_verifier(x509.DNSName(CONTROL_PLANE)).verify(certificate(node.pem), [])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nonsense", "cannot be read"),
        (request([]), "names nobody"),
        (request([uri("flexgate://node/b")]), "must name flexgate://node/a and nothing else"),
        (request([uri("flexgate://node/a"), uri("flexgate://node/b")]), "nothing else"),
        (request([uri("flexgate://node/a"), x509.DNSName(CONTROL_PLANE)]), "nothing else"),
        (request([uri("flexgate://node/a?zone=better")]), "nothing else"),
        (request([uri("flexgate://node/a")], subject="someone"), "nothing else"),
        (request([uri("flexgate://node/a")], rsa.generate_private_key(65537, 1024)), "at least 2048 bits"),
    ],
)
def test_requests_for_something_else_are_refused(text: str, part: str) -> None:
    """A node gets a certificate for its own name over a sound key, and for nothing else."""
    with pytest.raises(Refusal, match=part):
        Authority.create(NOW).sign_node(text, NodeName("a"), NOW, DAY)


def test_a_request_with_another_ones_signature_is_refused() -> None:
    """Who does not have the key gets no certificate for it."""
    good = x509.load_pem_x509_csr(request([uri("flexgate://node/a")]).encode())
    der = bytearray(good.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    try:
        forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    except ValueError:
        return  # not even a signature any more
    with pytest.raises(Refusal):
        Authority.create(NOW).sign_node(forged, NodeName("a"), NOW, DAY)


def test_an_authority_is_kept_and_loaded() -> None:
    """It comes back from its PEM with the same fingerprint, and what it signs is good."""
    authority = Authority.create(NOW)
    again = Authority.load(authority.pem.encode(), authority.key_pem.encode())
    assert again.fingerprint == authority.fingerprint
    assert authority.fingerprint.startswith("sha256:")
    issued = again.sign_node(request([uri("flexgate://node/a")]), NodeName("a"), NOW, DAY)
    certificate(issued.pem).verify_directly_issued_by(authority.certificate)


def test_what_cannot_sign_is_no_authority() -> None:
    """A server's certificate, another one's key, and no PEM at all are refused with the reason."""
    authority, other = Authority.create(NOW), Authority.create(NOW)
    server = authority.sign_server([], NOW)
    for pem, key, part in (
        (server[0], server[1], "it is no CA"),
        (authority.pem, other.key_pem, "another key"),
        ("x", authority.key_pem, "cannot be read"),
    ):
        with pytest.raises(UnusableAuthority, match=part):
            Authority.load(pem.encode(), key.encode())


def test_nothing_outlives_its_authority() -> None:
    """A certificate ends with the authority at the latest."""
    authority = Authority.create(NOW)
    issued = authority.sign_node(request([uri("flexgate://node/a")]), NodeName("a"), NOW, 10_000 * DAY)
    assert issued.not_after == authority.certificate.not_valid_after_utc


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40),
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=3),
)
def test_names_come_back_from_uris(name: str, labels: dict[str, str]) -> None:
    """Any name with any labels is the same after it was written into a URI, which is ASCII."""
    written = NodeName(name, labels).uri
    assert written.isascii()
    assert parse(written) == NodeName(name, labels)


@pytest.mark.parametrize(
    ("node_id", "covered"),
    [("a", True), ("a/0", True), ("a/17", True), ("a/x", False), ("b", False), ("ab", False), ("a/1/2", False)],
)
def test_a_name_covers_its_workers(node_id: str, covered: bool) -> None:
    """A certificate serves the node and its workers, and nobody else."""
    assert NodeName("a").covers(node_id) is covered
