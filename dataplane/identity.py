"""Who this node is to the control plane: its key, its certificate, and whom it trusts, in one file of its own.

The key is made here and never leaves. All workers of a data plane share the file; one file, replaced whole, so that key
and certificate always belong together. The library is loaded at first use: who does not enrol does not pay its memory.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from shared.node_uri import NodeName, parse

if TYPE_CHECKING:
    from cryptography import x509

FILE = "identity.pem"
_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)


class IdentityError(Exception):
    """The node has no identity that it could use, and why."""


@dataclass(frozen=True)
class Papers:
    """PEM texts: the node's key, its certificate, and the authorities of control planes."""

    key: str
    certificate: str
    authorities: str

    @cached_property
    def validity(self) -> tuple[float, float]:
        """(from, until), epoch seconds."""
        found = _certificate(self.certificate)
        return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()

    @cached_property
    def node(self) -> NodeName | None:
        """Whom the certificate names."""
        from cryptography import x509  # noqa: PLC0415 - memory: only where it is needed

        try:
            names = _certificate(self.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return None
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        return next((node for uri in uris if (node := parse(uri))), None)


def load(file: Path) -> Papers | None:
    """What is kept; None where there is nothing. IdentityError where it cannot be used."""
    try:
        text = file.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"cannot read {file}: {error}") from error
    blocks = [(match[1], match[0]) for match in _BLOCK.finditer(text)]
    if [kind for kind, _ in blocks[:2]] != ["PRIVATE KEY", "CERTIFICATE"] or len(blocks) < 3:
        raise IdentityError(f"{file} does not hold a key, a certificate and an authority; remove it and enrol anew")
    papers = Papers(blocks[0][1], blocks[1][1], "".join(block for _, block in blocks[2:]))
    try:
        _ = papers.validity
    except ValueError as error:
        raise IdentityError(f"{file} does not hold a certificate; remove it and enrol anew") from error
    return papers


def save(file: Path, papers: Papers) -> None:
    """Keep this; OSError where that is not possible, and then the old one stands."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
        written.writelines(f"{text.strip()}\n" for text in (papers.key, papers.certificate, papers.authorities))
        written.flush()
        os.fsync(written.fileno())
    fresh.replace(file)


def request(name: str) -> tuple[str, str]:
    """(key, signing request) of a new key for the node of this name, in PEM."""
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(NodeName(name).uri)])
    signed = (
        x509.CertificateSigningRequestBuilder(x509.Name([]))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain).decode()
    return key_pem, signed.public_bytes(pem).decode()


def with_fingerprint(authorities: str, fingerprint: str) -> str:
    """Those of some authorities that have this SHA-256 fingerprint (hex digits), in PEM; "" where none has."""
    from cryptography import x509  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as above

    blocks = [match[0] for match in _BLOCK.finditer(authorities) if match[1] == "CERTIFICATE"]
    return "".join(
        block
        for block in blocks
        if x509.load_pem_x509_certificate(block.encode()).fingerprint(hashes.SHA256()).hex() == fingerprint
    )


def _certificate(pem: str) -> x509.Certificate:
    from cryptography import x509  # noqa: PLC0415 - as above

    return x509.load_pem_x509_certificate(pem.encode())
