"""Names of routes that were given none."""

from __future__ import annotations

import pytest

from shared.pb.resources_pb2 import Route, StringMatch
from shared.route_names import MAX_LENGTH, describe, name_routes


@pytest.mark.parametrize(
    ("route", "name"),
    [
        (Route(path="/api/users/*"), "/api/users/*"),
        (Route(path="/a", methods=["POST", "GET"]), "GET,POST /a"),
        (Route(path="/a", hosts=["b.com", "*.a.com"]), "*.a.com,b.com/a"),
        (Route(path="/a", methods=["GET"], hosts=["b.com"]), "GET b.com/a"),
        (Route(path="/a", headers={"X-Beta": StringMatch(exact="1")}), "/a [header X-Beta=1]"),
        (Route(path="/a", query={"v": StringMatch(prefix="2")}, priority=5), "/a [query v=2*, priority 5]"),
        (Route(path="/a", query={"v": StringMatch(present=False)}), "/a [query v absent]"),
        (Route(path="/a", query={"v": StringMatch(exact="a\nb")}), "/a [query v=a?b]"),
        (Route(), "route"),
    ],
)
def test_a_name_tells_the_match(route: Route, name: str) -> None:
    """The name is what the route matches, in a fixed order."""
    assert describe(route) == name


def test_given_names_are_kept() -> None:
    """Only routes without a name are named, and never as another one is."""
    routes = [Route(path="/a"), Route(path="/b", name="/a"), Route(path="/c", name="c")]
    assert name_routes(routes) == [0]
    assert [route.name for route in routes] == ["/a #2", "/a", "c"]


def test_equal_matches_are_counted() -> None:
    """Routes with the very same match (all but one disabled) get numbers."""
    routes = [Route(path="/a") for _ in range(3)]
    name_routes(routes)
    assert [route.name for route in routes] == ["/a", "/a #2", "/a #3"]


def test_other_routes_do_not_change_a_name() -> None:
    """Reordering and adding routes renames nothing."""
    paths = ["/a", "/b/*", "/c/:id"]
    alone = {path: describe(Route(path=path)) for path in paths}
    routes = [Route(path=path) for path in [*reversed(paths), "/d"]]
    name_routes(routes)
    assert {route.path: route.name for route in routes if route.path != "/d"} == alone


def test_long_names_are_cut_and_stay_apart() -> None:
    """A name has a bounded length; a hash keeps two long ones different."""
    first, second = (describe(Route(path="/" + "a" * 1000 + end)) for end in "xy")
    assert first != second
    assert max(len(first), len(second)) <= MAX_LENGTH
