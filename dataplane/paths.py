"""The one spelling of a request target: what is matched, authorised, logged and forwarded is the same string.

Paths are brought to the normal form of RFC 3986 6.2.2 (percent-encoding, dot segments) with double slashes merged.
What two servers could read differently is refused rather than guessed at: an encoded slash, backslash or NUL, a raw
backslash, `..` above the root, and dot segments with parameters (`..;x`: some origins drop the parameters, then climb).
The query is opaque here and goes on byte for byte; only bytes that no target may hold are refused in it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Target(NamedTuple):
    """A request target in normal form; a tuple, because one is made for every request.

    `path` is ASCII and starts with "/". `query` is what follows the first "?": None without one, "" for a bare "?".
    `changed` tells whether the path was spelled differently on the wire.
    """

    path: str
    query: str | None
    changed: bool


class BadTarget(ValueError):
    """A request target that is refused; `reason` is fit for the client and never echoes the target."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PCHAR: Final = r"A-Za-z0-9\-._~!$&'()*+,;=:@"  # pchar of RFC 3986 3.3, without percent-encoding
# Upper-case hex of everything but unreserved characters (they stand raw), NUL, slash and backslash (refused).
_ENCODED: Final = r"%(?:0[1-9A-F]|1[0-9A-F]|2[0-9A-C]|3[A-F]|40|5[BDE]|60|7[BCDF]|[89A-F][0-9A-F])"

# Nearly every target is normal already: one match, no copy. An empty segment stands only at the end, a dot segment
# (with or without parameters) nowhere. What may follow a class is never in it, so a hostile target costs two passes at
# most. Groups are not possessive: CPython before 3.11.5 then matches what the look-ahead forbids (gh-100061).
_NORMAL: Final = re.compile(
    rf"((?:/(?!/|\.\.?(?:[/;?]|%3B|\Z))[{_PCHAR}]*+(?:{_ENCODED}[{_PCHAR}]*+)*)+)(?:\?([\x21\x22\x24-\x7e]*+))?"
)

_NEVER: Final = re.compile(r"[^\x21\x22\x24-\x7e]")
_REFUSED: Final = re.compile(r"\\|%(?:00|2[Ff]|5[Cc]|(?![0-9A-Fa-f]{2}))")
_REFUSALS: Final = {
    "%00": "an encoded NUL",
    "%2F": "an encoded slash",
    "%5C": "an encoded backslash",
    "\\": "a backslash",
    "%": "a malformed percent-encoding",
}
_SPELLINGS: Final = re.compile(rf"%[0-9A-Fa-f]{{2}}|[^/%{_PCHAR}]")
_DOTS_WITH_PARAMETERS: Final = re.compile(r"\.\.?(?:;|%3B)")


def normalise(raw: bytes) -> Target:
    """The normal form of an origin-form target (RFC 9112 3.2.1); raises BadTarget. Idempotent."""
    wire = raw.decode("latin-1")
    normal = _NORMAL.fullmatch(wire)
    if normal is None:
        return _normalise(wire)
    return Target(normal[1], normal[2], False)


def _normalise(wire: str) -> Target:
    if wire[:1] != "/":
        raise BadTarget("The request target does not start with a slash")
    if unfit := _NEVER.search(wire):
        what = "a fragment" if unfit[0] == "#" else "a byte that must be percent-encoded"
        raise BadTarget(f"The request target holds {what}")
    raw, mark, query = wire.partition("?")
    if refused := _REFUSED.search(raw):
        raise BadTarget(f"The path holds {_REFUSALS[refused[0].upper()]}")
    path = _resolved(_SPELLINGS.sub(_spelled, raw))
    return Target(path, query if mark else None, path != raw)


def _spelled(found: re.Match[str]) -> str:
    """One character in its normal spelling: unreserved ones raw, what no path may hold encoded, hex in upper case."""
    text: str = found[0]
    if len(text) == 1:
        return f"%{ord(text):02X}"
    character = chr(int(text[1:], 16))
    return character if character in _UNRESERVED else text.upper()


def _resolved(path: str) -> str:
    """RFC 3986 5.2.4 after merging slashes, as file systems read them: "/a//../b" is "/b"."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if not kept:
                raise BadTarget("The path climbs above the root")
            kept.pop()
        elif _DOTS_WITH_PARAMETERS.match(segment):
            raise BadTarget("The path holds a dot segment with parameters")
        elif segment not in ("", "."):
            kept.append(segment)
    ends_in_slash = kept and segments[-1] in ("", ".", "..")
    return "/" + "/".join(kept) + ("/" if ends_in_slash else "")
