"""Whom a rule by path concerns: a limit is written as a pattern of its own, beside those of the routes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from dataplane.routing.pattern import Pattern, parse

Test = Callable[[str], object]

_MOST_KEPT = 4096  # every route meets every rule at compile


def reach(rule: str, route: str) -> Test | bool:
    """Of what a route's pattern matches, what a rule's does: all (True), nothing (False), or a test of the path.

    Raises BadPattern.
    """
    wide, narrow = _parsed(rule), _parsed(route)
    if not _meet(wide, narrow):
        return False
    return True if _covers(wide, narrow) else _test(rule)


_parsed = lru_cache(_MOST_KEPT)(parse)


def _meet(rule: Pattern, route: Pattern) -> bool:
    """Whether some path may match both."""
    longer, steps = len(rule.steps) - len(route.steps), zip(rule.steps, route.steps, strict=False)
    if (longer > 0 and not route.prefix) or (longer < 0 and not rule.prefix):
        return False
    return all(one == other or (one is None and other != "") or (other is None and one != "") for one, other in steps)


def _covers(rule: Pattern, route: Pattern) -> bool:
    """Whether every path that the route matches, of those that may match both, matches the rule."""
    if len(rule.steps) > len(route.steps) or (route.prefix and not rule.prefix):
        return False
    return all(one is None or one == other for one, other in zip(rule.steps, route.steps, strict=False))


@lru_cache(_MOST_KEPT)
def _test(rule: str) -> Test:
    pattern = _parsed(rule)
    steps = "".join("/[^/]+" if step is None else "/" + re.escape(step) for step in pattern.steps)
    return re.compile(steps + ("(?:/.*)?" if pattern.prefix else "")).fullmatch
