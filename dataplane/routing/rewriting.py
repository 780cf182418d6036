"""The path that the upstream sees, compiled once for a route.

Three ways: keep the path, strip what the pattern's steps matched ("/x/get" reaches the upstream as "/get", "/x" as
"/"), or fill a template, which is written as patterns are: ":name" is the parameter, a final "*" what the route's own
"*" matched. Values are put in as they were spelled, so a normal path stays normal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dataplane.routing.pattern import BadPattern, Pattern, parse

Rewriting = Callable[[str, Mapping[str, str], str], str]
"""(normal path, params, rest), the latter as the router found them -> the path below the endpoint's base path."""


def rewriting(path: str, template: str = "", strip_path: bool | None = None) -> Rewriting:
    """How a route of this pattern rewrites; raises BadPattern.

    A template counts before `strip_path`, whose default is to strip for "/x/*" and to keep otherwise.
    """
    pattern = parse(path)
    if template:
        return _filled(parse(template), pattern)
    strip = pattern.prefix if strip_path is None else strip_path
    return _stripped if strip and pattern.steps else _kept


def _kept(path: str, _params: Mapping[str, str], _rest: str) -> str:
    return path


def _stripped(_path: str, _params: Mapping[str, str], rest: str) -> str:
    return "/" + rest


def _filled(template: Pattern, pattern: Pattern) -> Rewriting:
    if missing := [name for name in template.names if name not in pattern.names]:
        raise BadPattern(f'the route\'s path has no ":{missing[0]}" to put in')
    if template.prefix and not pattern.prefix:
        raise BadPattern('the route\'s path has no "*" to put in')
    names = iter(template.names)
    pieces = [(next(names), "") if step is None else ("", step) for step in template.steps]

    def fill(path: str, params: Mapping[str, str], rest: str) -> str:
        segments = [params[name] if name else literal for name, literal in pieces]
        if template.prefix and (rest or path.endswith("/")):  # "/x" and "/x/" stay apart: "/v2" and "/v2/"
            segments.append(rest)
        return "/" + "/".join(segments)

    return fill
