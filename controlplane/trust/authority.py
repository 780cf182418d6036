"""The certificate authority of a control plane: its key, and the certificates that it signs. Pure but for randomness.

Certificates are short and say one thing each: a node's says which node it is (shared/node_uri.py) and is good for
clients only; a control plane's has the one name that nodes look for and is good for servers only. So a node that is
broken into cannot pass for a control plane.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.trust.refusal import Refusal
from shared.node_uri import CONTROL_PLANE, NodeName

AUTHORITY_DAYS = 3650
SERVER_DAYS = 30
"""A control plane makes itself a new certificate at every start, and again when two thirds of this are over."""
SKEW = timedelta(minutes=5)
"""Certificates are good from so long ago, for nodes whose clocks are behind."""
RSA_BITS = 2048

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class UnusableAuthority(Exception):
    """A certificate and a key that cannot sign together."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was signed. `serial` is hexadecimal."""

    serial: str
    pem: str
    not_after: datetime


class Authority:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self._key = key

    def __repr__(self) -> str:
        return f"<Authority {self.fingerprint}>"

    @classmethod
    def create(cls, now: datetime) -> Authority:
        """A new one, of a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject("FlexGate control plane authority")
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Authority:
        """One that is kept; UnusableAuthority where it cannot sign."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, None)
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
            raise UnusableAuthority(f"certificate and key of the authority cannot be read: {error}") from error
        if not isinstance(key, Key):
            raise UnusableAuthority("the key of the authority must be of type EC, RSA or Ed25519")
        if not constraints.value.ca:
            raise UnusableAuthority("the certificate of the authority may not sign others (it is no CA)")
        if _raw(certificate.public_key()) != _raw(key.public_key()):
            raise UnusableAuthority("the certificate of the authority belongs to another key")
        return cls(certificate, key)

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key: a secret."""
        return _key_pem(self._key)

    @property
    def fingerprint(self) -> str:
        """What nodes may be given to know this authority by."""
        return "sha256:" + self.certificate.fingerprint(hashes.SHA256()).hex()

    def sign_node(self, request_pem: str, node: NodeName, now: datetime, lifetime: timedelta) -> Issued:
        """A certificate for a node over the key of its request; Refusal where the request is not for this node."""
        request = requested(request_pem, node.name)
        builder = self._builder("FlexGate node", request.public_key(), now, lifetime)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(node.uri)]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        return self._signed(builder)

    def sign_server(self, names: Iterable[str], now: datetime) -> tuple[str, str]:
        """(certificate, key) for a control plane, in PEM, under the name that nodes look for and under these."""
        key = ec.generate_private_key(ec.SECP256R1())
        known = [_general_name(name) for name in dict.fromkeys([CONTROL_PLANE, *names])]
        builder = self._builder("FlexGate control plane", key.public_key(), now, timedelta(days=SERVER_DAYS))
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        return self._signed(builder).pem, _key_pem(key)

    def _builder(
        self, subject: str, key: CertificatePublicKeyTypes, now: datetime, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        issuer = self.certificate.subject
        end = min(now + lifetime, self.certificate.not_valid_after_utc)
        return (
            x509.CertificateBuilder(issuer, _subject(subject), key, x509.random_serial_number())
            .not_valid_before(max(now - SKEW, self.certificate.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _signed(self, builder: x509.CertificateBuilder) -> Issued:
        digest = None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        certificate = builder.sign(self._key, digest)
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        return Issued(f"{certificate.serial_number:x}", pem, certificate.not_valid_after_utc)


def requested(request_pem: str, name: str) -> x509.CertificateSigningRequest:
    """A node's signing request; Refusal unless it is for this name and no other, signed by a sound key."""
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise Refusal("the signing request cannot be read") from error
    if not signed:
        raise Refusal("the signing request is not signed by its own key")
    sound = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    if not sound and not (isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS):
        raise Refusal(f"the key of the signing request must be EC, Ed25519 or RSA of at least {RSA_BITS} bits")
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise Refusal(f"the signing request names nobody; it must name {NodeName(name).uri}") from None
    found = [general.value for general in names]
    if found != [NodeName(name).uri] or list(request.subject):
        raise Refusal(f"the signing request must name {NodeName(name).uri} and nothing else")
    return request


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _raw(key: object) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]  # every public key has it


def utc_now() -> datetime:
    """The time that certificates are made by."""
    return datetime.now(UTC)
