"""The certificate of a port, from an operator's PEM files: shown from the start, and anew whenever the files change.

Only new connections see another certificate; those that are open go on. A pair that is not good, as it stands between
the two writes of whoever renews it, is logged and changes nothing: what was shown before is shown on.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cryptography import x509

from controlplane.start_error import StartError
from shared import log
from shared.timestamp import timestamp

POLL_SECONDS = 1.0
"""How often the files are looked at."""
REASONS = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "NO_START_LINE": "there is no PEM certificate and key in them",
}
ENCRYPTED = "ENCRYPTED"
"""Stands in the PEM of a key that has a passphrase, of PKCS#8 and of the older form (RFC 1421)."""
Sleep = Callable[[float], Awaitable[object]]


def show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show this certificate (PEM, with its chain) on new connections; ssl.SSLError, and nothing changed, if it is bad.

    OpenSSL takes a pair in two steps. A context of its own tells whether both work, before the live one is touched.
    """
    for tried in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        _load(tried, certificate, key)


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL reads it from a file only.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(f"{key}\n{certificate}")
        file.flush()
        # Without this, OpenSSL asks for the passphrase of a key at the terminal, and waits for ever.
        context.load_cert_chain(file.name, password="")


def read_pem(path: Path) -> str:
    """A PEM file; StartError where it cannot be read."""
    try:
        return path.read_text("ascii")
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path} is no PEM file") from error


class CertificateFiles:
    """A certificate and its key. `port` is what the port is called; `not_after`: when what is shown ends, epoch s."""

    def __init__(self, certificate: Path, key: Path, port: str, *, now: Callable[[], float] = time.time) -> None:
        self.not_after = 0.0
        self._certificate = certificate
        self._key = key
        self._port = port
        self._now = now
        self._seen = ("", "")

    def __repr__(self) -> str:
        return f"<CertificateFiles {self._certificate} {self._key}>"

    def pair(self) -> tuple[str, str]:
        """(certificate, key) as the files are now; StartError where they cannot be read."""
        self._seen = read_pem(self._certificate), read_pem(self._key)
        return self._seen

    def show(self, context: ssl.SSLContext) -> None:
        """Show what the files hold now; StartError, and nothing changed, where that is not good."""
        self._show(context, *self.pair())

    async def follow(self, context: ssl.SSLContext, sleep: Sleep = asyncio.sleep) -> None:
        """Show what the files become, until cancelled. What is wrong with them is logged once."""
        trouble = ""
        while True:
            await sleep(POLL_SECONDS)
            before = self._seen
            try:
                pair = await asyncio.to_thread(self.pair)
                if pair != before:
                    self._show(context, *pair)
                    log.info("listener.certificate_changed", port=self._port, notAfter=timestamp(self.not_after))
                trouble = ""
            except StartError as error:
                if str(error) != trouble:
                    log.error("listener.certificate", port=self._port, reason=str(error))
                trouble = str(error)

    def _show(self, context: ssl.SSLContext, certificate: str, key: str) -> None:
        trouble = f"cannot speak TLS on the {self._port} port with {self._certificate} and {self._key}"
        if ENCRYPTED in key:
            raise StartError(f"{trouble}: the key has a passphrase; give it without one")
        try:
            show(context, certificate, key)
        except ssl.SSLError as error:
            raise StartError(f"{trouble}: {told(error)}") from error
        self.not_after = _end(certificate, key)
        if self.not_after <= self._now():
            since = timestamp(self.not_after)
            log.error("listener.certificate", port=self._port, reason=f"{self._certificate} has ended, at {since}")


def told(error: ssl.SSLError) -> str:
    """What OpenSSL has against a certificate, in words."""
    return REASONS.get(error.reason or "", error.reason or str(error))


def _end(certificate: str, key: str) -> float:
    """When the certificate ends, in epoch seconds; the first one is the port's own, the others are its chain."""
    own = x509.load_pem_x509_certificates(f"{key}\n{certificate}".encode())[0]
    return own.not_valid_after_utc.timestamp()
