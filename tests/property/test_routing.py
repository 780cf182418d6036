"""The router against a naive matcher that tries every route and ranks those that match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.paths import normalise
from dataplane.routing import Condition, Entry, Found, Missed, RouteMatch, Router
from dataplane.routing.explain import explain
from dataplane.routing.rewriting import rewriting

NAMES = [f"r{number}" for number in range(12)]
SEGMENTS = ["a", "b", ":p", ":q"]
HOSTS = ["x.y", "w.x.y", "*.y", "*.x.y"]
CONDITIONS = [
    Condition("n", "exact", "one"),
    Condition("n", "prefix", "o"),
    Condition("n", "suffix", "o"),
    Condition("n", "present"),
    Condition("m", "absent"),
]


@dataclass(frozen=True)
class Request:
    path: str
    host: str
    method: str
    headers: list[tuple[bytes, bytes]]
    query: str | None

    def ask(self, router: Router) -> Found | Missed:
        return router.match(self.path, self.host, self.method, self.headers, self.query)


def pattern_text(segments: Sequence[str], end: str) -> str:
    """Parameters get a name for their place, so that none stands twice."""
    named = [f"{segment}{place}" if segment[0] == ":" else segment for place, segment in enumerate(segments)]
    return ("".join(f"/{segment}" for segment in named) + end) or "/"


patterns = st.builds(pattern_text, st.lists(st.sampled_from(SEGMENTS), max_size=3), st.sampled_from(["", "/", "/*"]))
conditions = st.lists(st.sampled_from(CONDITIONS), max_size=2, unique=True).map(tuple)
any_of_it = st.just(())


def table_of(pattern: st.SearchStrategy[str]) -> st.SearchStrategy[list[RouteMatch]]:
    """Tables of routes that mostly ask for little, so that most requests have several to choose from."""
    match = st.builds(
        RouteMatch,
        name=st.sampled_from(NAMES),
        path=pattern,
        hosts=any_of_it | st.lists(st.sampled_from(HOSTS), max_size=2).map(tuple),
        methods=any_of_it.map(frozenset) | st.frozensets(st.sampled_from(["GET", "HEAD", "POST"]), max_size=2),
        headers=any_of_it | any_of_it | conditions,
        query=any_of_it | any_of_it | conditions,
        priority=st.integers(-1, 1),
    )
    return st.lists(match, min_size=3, max_size=12, unique_by=lambda match: match.name)


# Some tables hold many patterns, others many routes of one or two, which then compete by rank.
tables = table_of(patterns) | st.lists(patterns, min_size=1, max_size=2).flatmap(
    lambda few: table_of(st.sampled_from(few))
)
values = st.sampled_from(["one", "two", "o", ""])
requests = st.builds(
    Request,
    path=st.lists(st.sampled_from(["a", "b", "a", "b", "c", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts)),
    host=st.sampled_from(["y", "x.y", "w.x.y", "v.w.x.y", ".y", ".x.y", ""]),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
    headers=st.lists(st.tuples(st.sampled_from([b"n", b"m"]), values.map(str.encode)), max_size=2),
    query=st.none()
    | st.lists(st.tuples(st.sampled_from("nm"), values), max_size=2).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
    ),
)


def entries(table: Sequence[RouteMatch]) -> list[Entry]:
    return [Entry(match, match) for match in table]


# ---- the naive matcher --------------------------------------------------------------------------------------------


def captured(pattern: str, path: str) -> dict[str, str] | None:
    """What the pattern captures of the path, the rest under "*"; None where it does not match."""
    whole = re.sub(r"/:(\w+)", r"/(?P<\1>[^/]+)", pattern)
    if whole.endswith("/*"):
        whole = whole.removesuffix("/*") + "(?:/(?P<rest>.*))?"
    found = re.fullmatch(whole, path)
    return None if found is None else {name: value or "" for name, value in found.groupdict().items()}


def host_rank(hosts: Sequence[str], host: str) -> tuple[int, int] | None:
    """The best of the route's hosts for this one, lowest first."""
    ranks = [(2, 0)] if not hosts else []
    for wanted in hosts:
        if wanted == host:
            ranks.append((0, 0))
        elif wanted[0] == "*" and host.endswith(wanted[1:]) and host != wanted[1:]:
            ranks.append((1, -len(wanted)))
    return min(ranks, default=None)


def satisfied(condition: Condition, fields: Sequence[tuple[str, str]]) -> bool:
    values = [value for name, value in fields if name == condition.name]
    if condition.kind == "absent":
        return values == []
    tests = {
        "present": lambda value: True,
        "exact": lambda value: value == condition.value,
        "prefix": lambda value: value.startswith(condition.value),
        "suffix": lambda value: value.endswith(condition.value),
    }
    return any(map(tests[condition.kind], values))


def fits_but_for_method(match: RouteMatch, request: Request) -> bool:
    headers = [(name.decode(), value.decode()) for name, value in request.headers]
    pairs = [pair.partition("=") for pair in (request.query or "").split("&") if pair]
    query = [(name, value) for name, _, value in pairs]
    return (
        captured(match.path, request.path) is not None
        and host_rank(match.hosts, request.host) is not None
        and all(satisfied(condition, headers) for condition in match.headers)
        and all(satisfied(condition, query) for condition in match.query)
    )


def method_rank(match: RouteMatch, method: str) -> int | None:
    if not match.methods:
        return 2
    if method in match.methods:
        return 0
    return 1 if method == "HEAD" and "GET" in match.methods else None


def rank(match: RouteMatch, request: Request) -> tuple[object, ...]:
    segments = match.path.split("/")[1:]
    shape = 2 if match.path.endswith("/*") else 1 if ":" in match.path else 0
    depth = 0 if shape < 2 else -len(segments)
    parameters = [segment.startswith(":") for segment in segments]
    asked = len(match.headers) + len(match.query)
    host, method = host_rank(match.hosts, request.host), method_rank(match, request.method)
    return shape, depth, parameters, host, -asked, method, -match.priority, match.name


def naive(table: Sequence[RouteMatch], request: Request) -> Found | Missed:
    fitting = [match for match in table if fits_but_for_method(match, request)]
    taking = [match for match in fitting if method_rank(match, request.method) is not None]
    if not taking:
        return Missed(frozenset().union(*(match.methods for match in fitting)))
    best = min(taking, key=lambda match: rank(match, request))
    params = captured(best.path, request.path) or {}
    rest = params.pop("rest", "")
    return Found(best, params, rest)


# ---- the properties -----------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(tables, st.lists(requests, min_size=4, max_size=8))
def test_the_router_answers_as_the_naive_matcher(table: list[RouteMatch], asked: list[Request]) -> None:
    """The same route, parameters and rest, or the same methods of a 405, for any table and request."""
    router = Router.build(entries(table))
    for request in asked:
        assert request.ask(router) == naive(table, request)


edits = st.lists(st.tuples(st.lists(st.sampled_from(NAMES), max_size=3), tables), max_size=4)


@settings(max_examples=200)
@given(tables, edits, requests)
def test_changing_a_router_is_building_it_anew(
    table: list[RouteMatch], edits: list[tuple[list[str], list[RouteMatch]]], request: Request
) -> None:
    """Any sequence of edits ends in the very structure of a fresh build, and no older router is touched by it."""
    held = {match.name: match for match in table}
    router = Router.build(entries(table))
    versions = [(router, list(held.values()))]
    for removed, added in edits:
        router = router.changed(removed, entries(added))
        held = {name: match for name, match in held.items() if name not in removed} | {m.name: m for m in added}
        versions.append((router, list(held.values())))
    for version, matches in versions:
        assert version == Router.build(entries(matches))
        assert len(version) == len(matches)
        assert request.ask(version) == naive(matches, request)


@settings(max_examples=200)
@given(tables, requests)
def test_explain_agrees_with_the_router(table: list[RouteMatch], request: Request) -> None:
    """The one verdict that matched names the route that serves, and every other verdict gives a reason."""
    router = Router.build(entries(table))
    verdicts = explain(router, request.path, request.host, request.method, headers=request.headers, query=request.query)
    answer = request.ask(router)
    assert [verdict.route for verdict in verdicts if verdict.matched] == (
        [answer.target.name] if isinstance(answer, Found) else []
    )
    assert all(verdict.reason for verdict in verdicts)
    assert len({verdict.route for verdict in verdicts}) == len(verdicts)
    path_matches = {match.name for match in table if captured(match.path, request.path) is not None}
    assert path_matches <= {verdict.route for verdict in verdicts}


wild_requests = st.builds(
    Request,
    path=st.text().map(lambda text: "/" + text) | st.text(),
    host=st.text() | st.text("ab.", max_size=300),
    method=st.text(),
    headers=st.lists(st.tuples(st.binary(), st.binary())),
    query=st.none() | st.text(),
)


@given(tables, wild_requests)
def test_matching_never_raises(table: list[RouteMatch], request: Request) -> None:
    """Whatever arrives, also what the parser would have refused, is found or missed."""
    assert isinstance(request.ask(Router.build(entries(table))), Found | Missed)


paths = st.lists(st.sampled_from(["a", "b", "%2B;x", "..."]), max_size=4).map(lambda parts: "/" + "/".join(parts))
templates = st.lists(st.sampled_from(["v2", ":p0", "é", "b:c"]), max_size=4, unique=True).flatmap(
    lambda parts: st.sampled_from(["", "/", "/*"]).map(lambda end: "".join(f"/{part}" for part in parts) + end or "/")
)


@given(templates, paths, st.booleans())
def test_a_rewritten_path_is_normal(template: str, path: str, slash: bool) -> None:
    """What reaches the upstream needs no normalising, whatever a template makes of a path."""
    path = normalise((path + "/" * slash).encode()).path
    answer = Router.build([Entry(RouteMatch("r", "/:p0/*"), None)]).match(path, "", "GET", [], None)
    if isinstance(answer, Found):
        rewritten = rewriting("/:p0/*", template)(path, answer.params, answer.rest)
        assert normalise(rewritten.encode()) == (rewritten, None, False)
        assert rewritten.count(answer.params["p0"]) >= template.count(":p0")


@given(patterns, paths, st.booleans())
def test_stripping_gives_what_the_star_stood_for(pattern: str, path: str, slash: bool) -> None:
    """Prefix patterns hand on the rest below a slash; all others hand on the path as it is."""
    path = normalise((path + "/" * slash).encode()).path
    answer = Router.build([Entry(RouteMatch("r", pattern), None)]).match(path, "", "GET", [], None)
    if isinstance(answer, Found):
        rewritten = rewriting(pattern)(path, answer.params, answer.rest)
        if pattern.endswith("/*"):
            assert rewritten == "/" + answer.rest
            assert path.endswith(rewritten) or rewritten == "/"
        else:
            assert rewritten == path
