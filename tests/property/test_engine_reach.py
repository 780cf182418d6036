"""Whom a rule by path reaches, against asking both patterns about every path."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from dataplane.filters.reach import reach
from dataplane.routing import Entry, Found, RouteMatch, Router

STEPS = st.lists(st.sampled_from(["a", "b", ":x", ":y"]), max_size=3, unique=True)
PATTERNS = st.builds(
    lambda steps, end: "/" + "/".join([*steps, *end]).removeprefix("/"), STEPS, st.sampled_from([[], ["*"], [""]])
)
PATHS = [
    "/" + "/".join(segments)
    for size in range(5)
    for segments in product(("a", "b", "c", ""), repeat=size)
    if "" not in segments[:-1]
]


def matches(pattern: str, path: str) -> bool:
    """What the router says."""
    router = Router.build([Entry(RouteMatch(name="r", path=pattern), None)])
    return isinstance(router.match(path, "", "GET", (), None), Found)


@given(PATTERNS, PATTERNS)
def test_a_rule_reaches_what_both_match(rule: str, route: str) -> None:
    """Of the paths that the route takes, exactly those that the rule's pattern matches too."""
    answer = reach(rule, route)
    for path in filter(lambda path: matches(route, path), PATHS):
        reached = answer if isinstance(answer, bool) else bool(answer(path))
        assert reached == matches(rule, path), path
