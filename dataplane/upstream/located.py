"""Where a URL leads: the endpoint behind it, as far as the URL tells. Pure."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from dataplane.runtime import Endpoint
from shared import defaults

_PORTS: Final = {"http": 80, "https": 443}


def located(
    url: str, *, tls: ssl.SSLContext | None, server_name: str = "", weight: int = defaults.ENDPOINT_WEIGHT
) -> Endpoint:
    """The endpoint of an http or https URL that was checked. `tls` is for https; `server_name` "": the URL's host."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    secure = parts.scheme == "https"
    return Endpoint(
        scheme=parts.scheme,
        host=host,
        port=port,
        base=parts.path.rstrip("/"),
        weight=weight,
        address=f"{shown}:{port}",
        host_line=f"Host: {shown if port == _PORTS[parts.scheme] else f'{shown}:{port}'}".encode(),
        ips=_literal(host),
        tls=tls if secure else None,
        server_name=(server_name or host) if secure else None,
    )


def _literal(host: str) -> tuple[str, ...]:
    try:
        return (str(ip_address(host)),)
    except ValueError:
        return ()  # a name
