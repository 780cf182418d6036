"""Path patterns ("/exact", "/with/:param", "/prefix/*") and rewrite templates.

Requests are matched in the normal form of RFC 3986 6.2.2, so only that form is accepted here: a pattern that could
never match, or that reads as two things, is refused together with the way to write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

MAX_LENGTH = 2048

_PARAMETER = re.compile(r":[A-Za-z_][A-Za-z0-9_]*")
_OTHERS_PARAMETER = re.compile(r"\{.*\}|<.*>")
_EXPRESSION = re.compile(r"[\[\]\\^|]")
_PLAIN = re.compile(r"[A-Za-z0-9\-._~!$&'()+,;=:@%]*")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})?")
_NEVER = {0x00: "an encoded NUL", 0x2F: "an encoded slash", 0x5C: "an encoded backslash"}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a good pattern matches: equal shapes match the same paths, whatever their parameters are called."""

    text: str  # ":" for each parameter
    parameters: tuple[str, ...]
    prefix: bool


def shape(path: str) -> Shape:
    """The shape of a pattern that `fault` found good."""
    segments = path.split("/")
    names = tuple(segment[1:] for segment in segments if segment.startswith(":"))
    text = "/".join(":" if segment.startswith(":") else segment for segment in segments) if names else path
    return Shape(text, names, segments[-1] == "*")


def fault(path: str) -> str | None:
    """What is wrong with a pattern."""
    if not path.startswith("/"):
        return f'{path!r}: a path starts with "/"'
    if len(path) > MAX_LENGTH:
        return f"a path has at most {MAX_LENGTH} characters, this one has {len(path)}"
    if "?" in path or "#" in path:
        return f"{path!r}: a path has no query and no fragment; to match parameters use `query`"
    segments = path[1:].split("/")
    parameters = set()
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "*" and last:
            continue
        problem = _segment(segment, last)
        if problem is None and segment.startswith(":"):
            problem = f"{segment} stands twice; give each parameter its own name" if segment in parameters else None
            parameters.add(segment)
        if problem:
            return f"{path!r}: {problem}"
    return None


def _segment(segment: str, last: bool) -> str | None:
    if not segment:
        return None if last else "it has an empty segment; write single slashes"
    if segment in (".", "..") or segment.startswith((".;", "..;", ".%3B", "..%3B")):
        return "dot segments are resolved before matching; write the path that they lead to"
    if "*" in segment:
        return '"*" stands for all that follows: once, as the whole last segment'
    if segment.startswith(":"):
        return None if _PARAMETER.fullmatch(segment) else f"{segment!r} is no parameter; write one such as :id"
    if _OTHERS_PARAMETER.fullmatch(segment):  # of OpenAPI, Traefik, Flask
        return f"{segment!r}: a parameter is written :name and takes one segment, as in /users/:id"
    if _EXPRESSION.search(segment):
        return f"{segment!r}: paths are no regular expressions; a parameter such as :id takes any one segment"
    if not _PLAIN.fullmatch(segment):
        encoded = quote(segment, safe="!$&'()+,;=:@%~")
        return f"{segment!r} has characters that paths carry percent-encoded; write {encoded}"
    return next(filter(None, map(_encoding, _ENCODED.finditer(segment))), None)


def _encoding(found: re.Match[str]) -> str | None:
    """What is wrong with one percent-encoded byte; hex is written in upper case, plain characters plainly."""
    if found[1] is None:
        return '"%" is not followed by two hex digits; a percent sign itself is %25'
    byte = int(found[1], 16)
    if byte in _NEVER:
        return f"{found[0]} is {_NEVER[byte]}, which is refused in requests, so this never matches"
    if byte in _UNRESERVED:
        return f"{found[0]} is compared as {chr(byte)}; write that"
    return None if found[0] == found[0].upper() else f"{found[0]} is compared in upper case; write {found[0].upper()}"


def template_fault(template: str, pattern: Shape) -> str | None:
    """What is wrong with a `rewrite.path` for a route with this pattern."""
    if problem := fault(template):
        return problem
    own = shape(template)
    if missing := [name for name in own.parameters if name not in pattern.parameters]:
        known = ", ".join(f":{name}" for name in pattern.parameters) or "none"
        return f"{template!r}: the path of the route has no :{missing[0]}; it has {known}"
    if own.prefix and not pattern.prefix:
        return f'{template!r}: "*" stands for what the path\'s "*" matched, and the path has none'
    return None
