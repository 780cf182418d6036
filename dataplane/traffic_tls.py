"""The TLS of the traffic port, from an operator's PEM files: as the configuration says, and anew when the files change.

Only new connections see another certificate; those that are open go on. A pair that is not good, as it stands between
the two writes of whoever renews it, is told once and changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from pathlib import Path

from dataplane.compile_settings import listener_tls
from shared import log
from shared.faults import ConfigError
from shared.pb.resources_pb2 import ListenerTls

Contents = tuple[bytes | None, ...]
"""Of certificate, key and client CA; None: it cannot be read."""


class TrafficTls:
    """`context` is what the listener shows. Raises ConfigError where the files are not good."""

    def __init__(self, tls: ListenerTls) -> None:
        self._tls = tls
        self._seen = self._read()
        self.context = listener_tls(tls)

    def __repr__(self) -> str:
        return f"<TrafficTls {self._tls.cert}>"

    async def look(self) -> None:
        """Show what the files have become, if they have."""
        found = await asyncio.to_thread(self._read)
        if found == self._seen:
            return
        self._seen = found
        try:
            self._show(found)
        except (ConfigError, OSError) as error:  # ssl.SSLError is one
            log.error("listener.certificate", file=self._tls.cert, reason=str(error))
        else:
            log.info("listener.certificate_changed", file=self._tls.cert)

    def _read(self) -> Contents:
        return tuple(_content(path) for path in (self._tls.cert, self._tls.key, self._tls.client_ca) if path)

    def _show(self, contents: Contents) -> None:
        # What was read is what is shown: the files may change once more. OpenSSL takes files only, and a pair in two
        # steps: a context of its own tells whether both work, before the live one is touched.
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory, name) for name in ("cert.pem", "key.pem", "ca.pem")]
            for path, content in zip(paths, contents, strict=False):
                if content is None:
                    listener_tls(self._tls)  # says which, and why
                    return
                path.touch(0o600)
                path.write_bytes(content)
            cert, key, ca = map(os.fspath, paths)
            tried = ListenerTls(cert=cert, key=key, client_ca=ca if self._tls.client_ca else "")
            try:
                listener_tls(tried)
            except ConfigError as error:
                told = (
                    str(error)
                    .replace(cert, self._tls.cert)
                    .replace(key, self._tls.key)
                    .replace(ca, self._tls.client_ca)
                )
                raise ssl.SSLError(told) from error
            self.context.load_cert_chain(cert, key)
            if self._tls.client_ca:
                self.context.load_verify_locations(ca)  # adds: who was trusted is until the next start


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None
