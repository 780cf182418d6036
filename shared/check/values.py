"""Rules for single values: each takes a value and returns what is wrong with it, or None. Pure, and tables of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from shared.defaults import LONGEST_METHOD
from shared.route_names import MAX_LENGTH
from shared.suggestion import near

Rule = Callable[[Any], str | None]

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 5.6.2
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?|")
_USERINFO = re.compile(r"//.*@", re.DOTALL)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

# What frames a message or belongs to one connection (RFC 9110 7.6.1, RFC 9112 6): never an operator's to edit.
CONNECTION_FIELDS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def between(low: float, high: float, unit: str = "") -> Rule:
    """A number from `low` to `high`, both included."""

    def rule(value: float) -> str | None:
        if low <= value <= high:
            return None
        return f"{plain(value)} is out of range: from {plain(low)} to {plain(high)}{unit}"

    return rule


def at_least(low: float, unit: str = "") -> Rule:
    """A number with a lower bound."""

    def rule(value: float) -> str | None:
        return None if value >= low else f"{plain(value)} is too small: at least {plain(low)}{unit}"

    return rule


def plain(number: float) -> str:
    """A number as people write it: 4294967295, not 4.29497e+09."""
    return str(int(number)) if abs(number) < 1e15 and number == int(number) else f"{number:g}"


def one_of(*words: str, forms: dict[str, str] | None = None) -> Rule:
    """One of some words, or a form such as header:NAME (prefix -> what follows it)."""

    def rule(value: str) -> str | None:
        prefix, colon, rest = value.partition(":")
        if value in words or (colon and forms and prefix in forms and TOKEN.fullmatch(rest)):
            return None
        known = [*words, *(f"{prefix}:{what}" for prefix, what in (forms or {}).items())]
        guess = near(value, [word for word in known if word[0].isalpha()])
        return f"{value!r} is not one of {', '.join(known)}{f'; did you mean {guess}?' if guess else ''}"

    return rule


def name(value: str) -> str | None:
    """The name of a resource."""
    if len(value) > MAX_LENGTH:
        return f"a name has at most {MAX_LENGTH} characters, this one has {len(value)}"
    if not value.isprintable() or value != value.strip():
        return f"{value!r} is no name: use printable characters, without spaces at the ends"
    return None


def token(value: str) -> str | None:
    """The name of a header field."""
    return None if TOKEN.fullmatch(value) else f"{value!r} is no header name: letters, digits and hyphens, no spaces"


def editable_header(value: str) -> str | None:
    """The name of a header field that a rule may touch."""
    if value.lower() in CONNECTION_FIELDS:
        hint = "use rewrite.host" if value.lower() == "host" else "the gateway sets it itself"
        return f"{value} cannot be edited: {hint}"
    return token(value)


def field_value(value: str) -> str | None:
    """The value of a header field."""
    if _FIELD_VALUE.fullmatch(value):
        return None
    return "not a header value: visible ASCII characters and inner spaces only, no line breaks"


def method(value: str) -> str | None:
    """A request method that is proxied."""
    if value.upper() in ("CONNECT", "TRACE"):
        return f"{value} is never proxied (it answers 405); remove it"
    if len(value) > LONGEST_METHOD:
        return f"a method has at most {LONGEST_METHOD} characters; requests with a longer one are refused"
    return None if TOKEN.fullmatch(value) else f"{value!r} is no method; write one such as GET"


def host(value: str) -> str | None:
    """A host name or an IP address (IPv6 in brackets), without a port."""
    if value.startswith("[") and value.endswith("]"):
        return None if address(value[1:-1]) else f"{value!r} is no IPv6 address"
    if "//" in value or "/" in value:
        return f"{value!r} is no host: write the name alone, without scheme and path"
    if ":" in value:
        return f"{value!r} is no host: write it without a port, and IPv6 addresses in brackets"
    labels = value.split(".")
    if len(value) <= 253 and all(map(_LABEL.fullmatch, labels)):
        # RFC 3696 2: no top-level name is all digits, so this was meant to be an address.
        return None if not labels[-1].isdecimal() or address(value) else f"{value!r} is no IPv4 address"
    return f"{value!r} is no host name: labels of letters, digits and hyphens, separated by dots"


def host_pattern(value: str) -> str | None:
    """A host, or "*.example.com" for everything below it."""
    if value == "*":
        return 'leave the list out to take every host; a wildcard is written "*.example.com"'
    plain = value.removeprefix("*.")
    if "*" in plain:
        return f'{value!r}: a wildcard stands only at the left, for whole labels, as in "*.example.com"'
    if plain != value and (plain.startswith("[") or address(plain)):
        return f"{value!r}: nothing lies below an IP address; use one or list addresses"
    return host(plain)


def listen_host(value: str) -> str | None:
    """An address or name to listen on; IPv6 without brackets, as sockets take it."""
    return None if address(value) else host(value)


def reachable_host(value: str) -> str | None:
    """What an endpoint may be called: an address (IPv6 without brackets), a name, or "*.example.com"."""
    return None if address(value) else host_pattern(value)


def network(value: str) -> str | None:
    """An IP address or a CIDR block."""
    try:
        ip_network(value)
    except ValueError:
        try:
            wider = ip_network(value, strict=False)
        except ValueError:
            return f"{value!r} is neither an IP address nor a block such as 10.0.0.0/8"
        return f"{value!r} has bits set beyond its prefix; write {wider}"
    return None


def split_url(value: str) -> tuple[SplitResult, int] | str:
    """The parts and the port of an endpoint's URL, or what is wrong with it."""
    wanted = "write http://host:port or https://host:port"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        return f"{shown(value)} is no URL{_because(error, value)}; {wanted}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{shown(value)} is no http or https URL; {wanted}"
    if "@" in parts.netloc or "?" in value or "#" in value:
        return f"{shown(value)}: an endpoint has no user, query or fragment; {wanted}, with a base path at most"
    bare = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.removesuffix(":")
    if (fault := host(bare)) or port == 0:
        return f"{shown(value)}: {fault or 'port 0 reaches nothing'}"
    return parts, port or (80 if parts.scheme == "http" else 443)


def endpoint_url(value: str) -> str | None:
    """scheme://host[:port][/base]."""
    split = split_url(value)
    if isinstance(split, str):
        return split
    base = split[0].path.rstrip("/")
    if re.fullmatch(r"(?:/(?!\.\.?(?:/|\Z))(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})+)*", base) is None:
        return f"{value!r}: the base path must be plain: no empty or dot segments, other characters percent-encoded"
    return None


def web_url(value: str) -> str | None:
    """An http or https URL of any form."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        return f"{shown(value)} is no URL{_because(error, value)}"
    good = parts.scheme in ("http", "https") and parts.hostname and value.isprintable() and " " not in value
    return None if good else f"{shown(value)} is no http or https URL"


def redis_url(value: str) -> str | None:
    """redis://, rediss:// or unix://; port and database are numbers. It may hold a password: nothing of it is told."""
    if not re.fullmatch(r"(?:rediss?|unix)://[^\s]+", value):
        return "it is no Redis URL; write redis://host:6379"
    try:
        parts = urlsplit(value)
        sound = parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        return "its port is no number from 1 to 65535; write redis://host:6379, and a password with %2F for / and so on"
    if parts.scheme == "unix" and (parts.hostname or len(parts.path) < 2):
        return "it names no socket; write unix:///run/redis.sock"
    database = parse_qs(parts.query).get("db", [""])[0] or ("" if parts.scheme == "unix" else parts.path.strip("/"))
    if database and not re.fullmatch(r"[0-9]{1,9}", database):
        return "its database is no number; write redis://host:6379/0"
    return None


def shown(url: str) -> str:
    """A URL for a message, without the user and password in it: messages go into logs and answers."""
    return repr(_USERINFO.sub("//[redacted]@", url))


def _because(error: ValueError, url: str) -> str:
    """Why it is none; nothing where that could quote a part of a password."""
    return "" if "@" in url else f" ({error})"


def sha256_hex(value: str) -> str | None:
    """The hash of an API key; a plain key is not repeated in the message."""
    if _SHA256.fullmatch(value):
        return None
    return (
        "expected the sha256 of the key, 64 hex digits; keys themselves are never stored. "
        'Make it with: printf %s "$KEY" | sha256sum'
    )


def timestamp(value: str) -> str | None:
    """ISO 8601 with a time zone."""
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        return f"{value!r} is no time; write it as 2030-01-31T00:00:00Z, with its time zone"
    return None


def address(value: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a text is; None for anything else."""
    try:
        return ip_address(value)
    except ValueError:
        return None
