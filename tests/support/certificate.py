"""Certificates of their own authority, as PEM files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Certificate:
    """A certificate for 127.0.0.1 and localhost that signs itself, good from a day ago for `good`, and its key."""

    def __init__(self, directory: Path, name: str, *, good: timedelta = 2 * DAY, passphrase: bytes = b"") -> None:
        self.cert, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begin = datetime.now(UTC) - DAY
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(begin + good)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        pkcs8 = serialization.PrivateFormat.PKCS8
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, locked))

    def become(self, other: Certificate) -> None:
        """Another certificate under these names, as when it is renewed."""
        for mine, theirs in ((self.cert, other.cert), (self.key, other.key)):
            fresh = mine.with_suffix(mine.suffix + ".new")
            fresh.write_bytes(theirs.read_bytes())
            fresh.replace(mine)
