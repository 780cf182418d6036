"""What an operator is told about a request that went elsewhere than expected."""

from __future__ import annotations

import pytest

from dataplane.routing import Condition, Entry, RouteMatch, Router
from dataplane.routing.explain import Verdict, explain

ROUTES = [
    RouteMatch("list", "/users", methods=frozenset({"GET"})),
    RouteMatch("beta", "/users/:id", headers=(Condition("x-beta", "exact", "1"),)),
    RouteMatch("internal", "/users/:id", hosts=("*.corp", "corp"), query=(Condition("debug", "present"),)),
    RouteMatch("user", "/users/:id"),
    RouteMatch("all", "/users/*"),
]
ROUTER = Router.build(Entry(match, None) for match in ROUTES)


def test_every_route_of_the_path_gets_a_verdict() -> None:
    """In the order asked: what kept each from serving, the one that serves, and those it came before."""
    assert explain(ROUTER, "/users/7", "h.example", "GET", headers=[(b"x-beta", b"2")], query="a=b") == [
        Verdict("beta", False, "asks for header x-beta exact '1'"),
        Verdict("user", True, "matches"),
        Verdict("internal", False, "the host 'h.example' is not among *.corp, corp; asks for query debug present"),
        Verdict("all", False, 'would match, but "user" comes first'),
    ]


def test_a_wrong_method_is_told() -> None:
    """A route that fails on the method says which it takes."""
    assert explain(ROUTER, "/users", "h", "PUT")[0] == Verdict("list", False, "takes only GET")


def test_a_route_is_told_once() -> None:
    """HEAD finds a GET route by what GET implies, which is not a second route."""
    assert explain(ROUTER, "/users", "h", "HEAD") == [
        Verdict("list", True, "matches"),
        Verdict("all", False, 'would match, but "list" comes first'),
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/x/", "its trailing slash"), ("/X", "the case of its letters"), ("/Y/1", "the case of its letters")],
)
def test_slips_of_the_pen_are_found(path: str, reason: str) -> None:
    """Where nothing matches, a route that a slash or a capital away would serve is named."""
    router = Router.build([Entry(RouteMatch("x", "/x"), None), Entry(RouteMatch("y", "/y/:id"), None)])
    [verdict] = explain(router, path, "h", "GET")
    assert not verdict.matched
    assert verdict.reason.endswith(reason)


def test_a_true_reason_is_kept() -> None:
    """A route of the very path is not said to be a slash away from it."""
    router = Router.build([Entry(RouteMatch("x", "/x/*", methods=frozenset({"GET"})), None)])
    assert explain(router, "/x/", "h", "POST") == [Verdict("x", False, "takes only GET")]


def test_nothing_near_is_no_verdict() -> None:
    """A path unlike any other gets an empty list, and a long list is cut."""
    assert explain(ROUTER, "/elsewhere", "h", "GET") == []
    assert len(explain(ROUTER, "/users/7", "h", "GET", limit=2)) == 2
