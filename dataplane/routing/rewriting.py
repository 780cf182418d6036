"""The path that the upstream sees, compiled once for a route.

Three ways: keep the path, strip what the pattern's steps matched ("/x/get" reaches the upstream as "/get", "/x" as
"/"), or fill a template. In a template a segment may be ":name" or start with it ("/:id.json"), and "*" may stand as a
segment for what the route's own "*" matched. Values are put in as they were spelled, so a normal path stays normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dataplane.routing.pattern import NAME, BadPattern, Pattern, normal_path, parse

Rewriting = Callable[[str, Mapping[str, str], str], str]
"""(normal path, params, rest), the latter as the router found them -> the path below the endpoint's base path."""

_REST = "*"


def rewriting(path: str, template: str = "", strip_path: bool | None = None) -> Rewriting:
    """How a route of this pattern rewrites; raises BadPattern.

    A template counts before `strip_path`, whose default is to strip for "/x/*" and to keep otherwise.
    """
    pattern = parse(path)
    if template:
        return _filled(template, pattern)
    strip = pattern.prefix if strip_path is None else strip_path
    return _stripped if strip and pattern.steps else _kept


def base_path(path: str) -> str:
    """The path of an endpoint's URL as a prefix for every target: "" or "/base", normal; raises BadPattern."""
    return normal_path(path).rstrip("/") if path else ""


def _kept(path: str, _params: Mapping[str, str], _rest: str) -> str:
    return path


def _stripped(_path: str, _params: Mapping[str, str], rest: str) -> str:
    return "/" + rest


def _filled(template: str, pattern: Pattern) -> Rewriting:
    pieces = _pieces(template, pattern)
    last = len(pieces) - 1

    def fill(path: str, params: Mapping[str, str], rest: str) -> str:
        segments = []
        for place, (source, literal) in enumerate(pieces):
            if source == _REST:
                if tail := rest if place == last else rest.removesuffix("/"):
                    segments.append(tail)
                elif place == last and path.endswith("/"):
                    segments.append("")  # "/x" and "/x/" stay apart: "/v2" and "/v2/"
            else:
                segments.append(params[source] + literal if source else literal)
        return "/" + "/".join(segments)

    return fill


def _pieces(template: str, pattern: Pattern) -> list[tuple[str, str]]:
    """For each segment (parameter, "*" or "", the literal that follows)."""
    if not template.startswith("/"):
        raise BadPattern("a rewritten path starts with a slash")
    pieces = []
    for segment in normal_path(template).split("/")[1:]:
        name = NAME.match(segment, 1) if segment.startswith(":") else None
        if name is not None:
            if name[0] not in pattern.names:
                raise BadPattern(f'the route\'s path has no ":{name[0]}" to put in')
            pieces.append((name[0], segment[name.end() :]))
        elif segment == _REST:
            if not pattern.prefix:
                raise BadPattern('the route\'s path has no "*" to put in')
            pieces.append((_REST, ""))
        else:
            pieces.append(("", segment))
    return pieces
