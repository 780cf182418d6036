"""Routing by example: one test for each rule that docs/concepts/routing.md tells operators."""

from __future__ import annotations

import timeit
from typing import Any

import pytest

from dataplane.routing import BadPattern, Condition, Entry, Found, Missed, RouteMatch, Router
from dataplane.routing.draft import Draft
from dataplane.routing.route_match import compiled
from dataplane.routing.trie import Node


def entry(name: str, path: str, **asked: Any) -> Entry:
    return Entry(RouteMatch(name, path, **asked), name)


def routed(
    router: Router,
    path: str,
    *,
    host: str = "api.example.com",
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    query: str | None = None,
) -> str | None:
    """The name of the route that serves the request."""
    answer = router.match(path, host, method, headers, query)
    return answer.target if isinstance(answer, Found) else None


@pytest.mark.parametrize(
    ("path", "serves"),
    [
        ("/users/me", "exact"),
        ("/users/42", "parameter"),
        ("/users/me/", "longer prefix"),
        ("/users/42/x", "longer prefix"),
        ("/users", "longer prefix"),
        ("/users/", "longer prefix"),
        ("/user", "shorter prefix"),
        ("/usersx", "shorter prefix"),
        ("/Users/me", "shorter prefix"),
        ("/", "shorter prefix"),
    ],
)
def test_the_most_specific_path_serves(path: str, serves: str) -> None:
    """An exact path comes before parameters, they come before prefixes, and longer prefixes before shorter ones."""
    router = Router.build(
        [
            entry("shorter prefix", "/*"),
            entry("longer prefix", "/users/*"),
            entry("parameter", "/users/:id"),
            entry("exact", "/users/me"),
        ]
    )
    assert routed(router, path) == serves


@pytest.mark.parametrize(
    ("path", "serves"),
    [
        ("/a/b/c", "/a/:y/c"),  # a literal further left counts more than one further right
        ("/z/b/c", "/:x/b/c"),
        ("/a/b/d", "/:x/b/d"),  # only found by going back to the parameter
        ("/a/q/r/s", "/:x/:y/:z/*"),  # longer, though it has more parameters
        ("/a/q", "/a/*"),
        ("/q", None),
    ],
)
def test_literals_come_before_parameters_from_left_to_right(path: str, serves: str | None) -> None:
    """Where several patterns with parameters match, the first segment in which they differ decides."""
    patterns = ["/a/:y/c", "/:x/b/c", "/:x/b/d", "/:x/:y/:z/*", "/a/*"]
    assert routed(Router.build(entry(text, text) for text in patterns), path) == serves


def test_parameters_and_the_rest_are_captured() -> None:
    """Values stand as the normal path spells them; each route gets its own names for the same segments."""
    router = Router.build(
        [
            entry("tenant", "/t/:tenant/*"),
            entry("post", "/u/:id", methods=frozenset({"POST"})),
            entry("get", "/u/:user", methods=frozenset({"GET"})),
        ]
    )
    assert router.match("/t/a%20b/c/d/", "", "GET", (), None) == Found("tenant", {"tenant": "a%20b"}, "c/d/")
    assert router.match("/t/a", "", "GET", (), None) == Found("tenant", {"tenant": "a"}, "")
    assert router.match("/u/7", "", "GET", (), None) == Found("get", {"user": "7"}, "")
    assert router.match("/u/7", "", "POST", (), None) == Found("post", {"id": "7"}, "")
    assert router.match("/t/", "", "GET", (), None) == Missed(frozenset())


def test_a_trailing_slash_makes_another_path() -> None:
    """ "/x" and "/x/" are two exact paths, also behind a parameter."""
    router = Router.build([entry("bare", "/x"), entry("slash", "/:y/z/")])
    assert routed(router, "/x") == "bare"
    assert routed(router, "/x/") is None
    assert routed(router, "/q/z/") == "slash"
    assert routed(router, "/q/z") is None


@pytest.mark.parametrize(
    ("host", "serves"),
    [
        ("a.b.example.com", "exact"),
        ("c.b.example.com", "longer wildcard"),
        ("d.c.b.example.com", "longer wildcard"),
        ("b.example.com", "shorter wildcard"),
        ("example.com", "any"),
        ("badexample.com", "any"),
        (".example.com", "any"),
        ("", "any"),
        ("a." * 200 + "example.com", "any"),  # longer than any name may be
    ],
)
def test_hosts_from_the_most_specific(host: str, serves: str) -> None:
    """An exact host, then the longest wildcard (one label or more), then routes without a host."""
    router = Router.build(
        [
            entry("any", "/*", priority=9),
            entry("shorter wildcard", "/*", hosts=("*.example.com",)),
            entry("longer wildcard", "/*", hosts=("*.b.example.com",)),
            entry("exact", "/*", hosts=("a.b.example.com", "other.example")),
        ]
    )
    assert routed(router, "/x", host=host) == serves


def test_the_path_decides_before_the_host() -> None:
    """A route of any host with the more specific path comes first; one of another host never serves."""
    router = Router.build([entry("host", "/a/*", hosts=("h.example",)), entry("path", "/a/b")])
    assert routed(router, "/a/b", host="h.example") == "path"
    assert routed(router, "/a/c", host="h.example") == "host"
    assert routed(router, "/a/c", host="g.example") is None


def test_rank_among_routes_of_one_path_and_host() -> None:
    """More conditions, then listed methods before any, then the higher priority, then the name."""
    tests = (Condition("x-a", "present"), Condition("x-b", "present"))
    ranked = [
        entry("1", "/", headers=tests),
        entry("2", "/", headers=tests[:1], methods=frozenset({"GET"})),
        entry("3", "/", query=tests[:1], priority=9),
        entry("4", "/", methods=frozenset({"GET", "POST"})),
        entry("5", "/", priority=2),
        entry("6", "/", priority=1),
        entry("7", "/", priority=1),
    ]
    router = Router.build(reversed(ranked))
    served = []
    for _ in ranked:
        name = routed(router, "/", headers=((b"x-a", b""), (b"x-b", b"")), query="x-a")
        assert name is not None
        served.append(name)
        router = router.changed([name], [])
    assert served == ["1", "2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("condition", "holds", "fails"),
    [
        (Condition("x-v", "exact", "one"), ["one"], ["One", "one ", "", None]),
        (Condition("x-v", "prefix", "on"), ["one", "on"], ["o", "none", None]),
        (Condition("x-v", "suffix", "ne"), ["one", "ne"], ["e", "nex", None]),
        (Condition("x-v", "present"), ["one", ""], [None]),
        (Condition("x-v", "absent"), [None], ["", "one"]),
        (Condition("x-v", "exact", "é"), ["é"], ["e"]),
    ],
)
def test_conditions_on_headers_and_query(
    condition: Condition, holds: list[str | None], fails: list[str | None]
) -> None:
    """Both kinds of condition ask the same; of several values of a name one is enough."""
    by_header = Router.build([entry("r", "/", headers=(condition,))])
    by_query = Router.build([entry("r", "/", query=(condition,))])
    for value, expected in [(value, "r") for value in holds] + [(value, None) for value in fails]:
        fields = ((b"x-w", b"one"),) if value is None else ((b"x-v", value.encode()),)
        assert routed(by_header, "/", headers=fields) == expected
        assert routed(by_query, "/", query="x-w=one" if value is None else f"x-v={value}") == expected
    if condition.kind == "exact":
        assert routed(by_header, "/", headers=((b"x-v", b"no"), (b"x-v", condition.value.encode()))) == "r"
        assert routed(by_query, "/", query=f"x-v=no&x-v={condition.value}") == "r"


def test_query_values_are_decoded() -> None:
    """Conditions see values as applications do: percent-decoded, with "+" for a space."""
    router = Router.build([entry("r", "/", query=(Condition("full name", "exact", "a/b é"),))])
    assert routed(router, "/", query="full%20name=a%2Fb+%C3%A9") == "r"
    assert routed(router, "/", query="full+name=%zz") is None


def test_a_route_that_does_not_take_the_request_leaves_it_to_the_next() -> None:
    """Method, host and conditions fall through to less specific paths."""
    router = Router.build(
        [
            entry("post", "/a/b", methods=frozenset({"POST"})),
            entry("asks", "/a/:x", headers=(Condition("x-v", "present"),)),
            entry("all", "/*"),
        ]
    )
    assert routed(router, "/a/b", method="POST") == "post"
    assert routed(router, "/a/b", method="DELETE", headers=((b"x-v", b""),)) == "asks"
    assert routed(router, "/a/b", method="DELETE") == "all"


def test_a_wrong_method_tells_the_right_ones() -> None:
    """When only the method fails the answer is 405 with the methods of all such routes, as they list them."""
    router = Router.build(
        [
            entry("exact", "/a/b", methods=frozenset({"GET", "POST"})),
            entry("prefix", "/a/*", methods=frozenset({"PUT"})),
            entry("elsewhere", "/a/*", hosts=("other.example",), methods=frozenset({"PATCH"})),
            entry("asks", "/a/*", headers=(Condition("x-v", "present"),), methods=frozenset({"LINK"})),
        ]
    )
    assert router.match("/a/b", "", "DELETE", (), None) == Missed(frozenset({"GET", "POST", "PUT"}))
    assert router.match("/a/c", "", "DELETE", (), None) == Missed(frozenset({"PUT"}))
    assert router.match("/b", "", "DELETE", (), None) == Missed(frozenset())


def test_get_implies_head() -> None:
    """A route that lists GET takes HEAD, behind one that lists HEAD itself and before those of any method."""
    get = entry("a get", "/", methods=frozenset({"GET"}), priority=5)
    head = entry("head", "/", methods=frozenset({"HEAD"}))
    router = Router.build([get, head, entry("any", "/", priority=9)])
    assert routed(router, "/", method="HEAD") == "head"
    assert routed(router.changed(["head"], []), "/", method="HEAD") == "a get"
    assert routed(router.changed(["head", "a get"], []), "/", method="HEAD") == "any"
    assert Router.build([get]).match("/", "", "PUT", (), None) == Missed(frozenset({"GET"}))


def test_patterns_are_normalised_as_requests_are() -> None:
    """An operator writes a path as people read it; it matches what arrives on the wire."""
    router = Router.build([entry("é", "/café/:x/a b"), entry("~", "/%7ejo/./x")])
    assert routed(router, "/caf%C3%A9/1/a%20b") == "é"
    assert routed(router, "/~jo/x") == "~"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "start with a slash"),
        ("a/b", "start with a slash"),
        ("/a?b=c", "under `query`"),
        ("/a#b", "a fragment"),
        ("/a%2Fb", "an encoded slash"),
        ("/a/../../b", "climbs"),
        ("/a/*/b", "as the last segment"),
        ("/a*", "as the last segment"),
        ("/:", "is no parameter"),
        ("/:1", "is no parameter"),
        ("/:a-b", "is no parameter"),
        ("/:a/:a", "stands twice"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused(path: str, reason: str) -> None:
    """A path that could never match is refused when the router is made, and the old router is still whole."""
    router = Router.build([entry("kept", "/kept")])
    with pytest.raises(BadPattern, match=reason):
        router.changed(["kept"], [entry("good", "/good"), entry("bad", path)])
    assert routed(router, "/kept") == "kept"
    assert routed(router, "/good") is None


@pytest.mark.parametrize("host", ["", "*", "*.", "A.example", "a.*.example", "a b", "a/b", "user@a", "*a.example"])
def test_a_host_that_means_nothing_is_refused(host: str) -> None:
    """Hosts are lower-case names, with a star only as the first label."""
    with pytest.raises(BadPattern, match="the host"):
        Router.build([entry("bad", "/", hosts=(host,))])


def test_a_change_leaves_the_rest_alone() -> None:
    """A new router shares all that lies beside the changed route, and the old router answers as before."""
    old = Router.build(entry(f"r{i}", f"/svc{i}/:id") for i in range(100))
    new = old.changed(["r1", "unknown"], [entry("r2", "/svc2/:other/more")])
    assert (len(old), len(new)) == (100, 99)
    assert all(old._root.literals[f"svc{i}"] is new._root.literals[f"svc{i}"] for i in range(3, 100))
    assert [routed(old, "/svc1/x"), routed(old, "/svc2/x")] == ["r1", "r2"]
    assert [routed(new, "/svc1/x"), routed(new, "/svc2/x"), routed(new, "/svc2/x/more")] == [None, None, "r2"]
    assert routed(new.changed([], [entry("flat", "/flat")]), "/svc2/x/more") == "r2"
    assert repr(new) == "<Router 99 routes>"


def test_a_draft_copies_a_node_once() -> None:
    """However many routes change at once, what they share is copied for the first of them only."""
    draft = Draft({}, {}, Node())
    draft.put(compiled(entry("a", "/x/:y/a")))
    root, x = draft.root, draft.root.literals["x"]
    draft.put(compiled(entry("b", "/x/:y/b")))
    assert draft.root is root
    assert draft.root.literals["x"] is x


@pytest.mark.parametrize("pattern", ["/svc{}/users", "/svc{}/*", "/svc{}/:id"])
def test_ten_thousand_routes_cost_as_much_as_one(pattern: str) -> None:
    """Matching is a walk along the path, not along the routes. (The benchmark holds the exact ratio; this a search.)"""

    def seconds(count: int) -> float:
        router = Router.build(entry(f"r{i}", pattern.format(i)) for i in range(count))
        assert routed(router, "/svc0/users") == "r0"
        return min(timeit.repeat(lambda: router.match("/svc0/users", "h", "GET", (), None), number=2000, repeat=7))

    assert seconds(10_000) < 3 * seconds(1)
