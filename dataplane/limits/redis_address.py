"""A Redis URL, read: redis://, rediss:// (TLS) or unix://, with user, password and database number."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

_PORT = 6379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis listens, and as whom to talk to it; `path` instead of host and port is a Unix socket's."""

    host: str
    port: int
    path: str
    tls: bool
    user: str
    password: str = field(repr=False)
    database: int


def read_address(url: str) -> RedisAddress:
    """The parts of a URL that the checks accepted. ValueError where the port or the database is no number."""
    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    chosen = parse_qs(parts.query).get("db", [""])[0] or ("" if unix else parts.path.strip("/"))
    return RedisAddress(
        host=parts.hostname or "localhost",
        port=parts.port or _PORT,
        path=unquote(parts.path) if unix else "",
        tls=parts.scheme == "rediss",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(chosen or 0),
    )
