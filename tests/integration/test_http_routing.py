"""Routes as clients meet them: which one answers, and as what the request reaches its upstream."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.client import get
from tests.support.gateway import document, proxied, running_gateway
from tests.support.origin import OK, answering, echo, serving


@pytest.mark.parametrize(
    ("route", "sent", "arrived"),
    [
        ({"path": "/*"}, "/a/b?c=d", "/a/b?c=d"),
        ({"path": "/x/*"}, "/x/get?a=b", "/get?a=b"),
        ({"path": "/x/*"}, "/x/", "/"),
        ({"path": "/x/*"}, "/x", "/"),
        ({"path": "/x/*"}, "/x?a", "/?a"),
        ({"path": "/x/*"}, "/x/a%20b", "/a%20b"),
        ({"path": "/x/*", "stripPath": False}, "/x/get", "/x/get"),
        ({"path": "/x"}, "/x", "/x"),
        ({"path": "/users/:id"}, "/users/7", "/users/7"),
        ({"path": "/users/:id", "rewrite": "/people/:id"}, "/users/7?a=b", "/people/7?a=b"),
        ({"path": "/old/*", "rewrite": "/new/*"}, "/old/a/b", "/new/a/b"),
        ({"path": "/old", "rewrite": "/new"}, "/old", "/new"),
    ],
)
async def test_a_path_arrives_as_the_route_says(route: dict[str, Any], sent: str, arrived: str) -> None:
    """Stripped, kept or rewritten; the query goes along."""
    async with proxied(answering(OK), routes=[route]) as (origin, gateway):
        assert (await gateway.ask(get(sent))).status == 200
        assert origin.last.target == arrived


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (get("/a/b"), "exact"),
        (get("/a/c"), "parameter"),
        (get("/a/b/c"), "prefix"),
        (get("/a"), "prefix"),
        (get("/other"), "all"),
        (get("/a/b", host="special"), "host"),
        (get("/a/b", "X-Beta: yes"), "header"),
        (get("/a/b?beta=1"), "query"),
        (get("/a/b", method="DELETE"), "method"),
        (get("/A/B"), "all"),
        (get("/a/b/"), "prefix"),
    ],
)
async def test_the_most_specific_route_answers(data: bytes, name: str) -> None:
    """Exact before parameters before the longest prefix; then the one with more conditions."""
    routes: list[dict[str, Any]] = [
        {"name": "all", "path": "/*"},
        {"name": "prefix", "path": "/a/*"},
        {"name": "parameter", "path": "/a/:b"},
        {"name": "exact", "path": "/a/b"},
        {"name": "host", "path": "/a/b", "hosts": ["special"]},
        {"name": "header", "path": "/a/b", "headers": {"X-Beta": "yes"}},
        {"name": "query", "path": "/a/b", "query": {"beta": "1"}},
        {"name": "method", "path": "/a/b", "methods": ["DELETE"]},
    ]
    for route in routes:
        route["responseHeaders"] = {"set": {"X-Route": route["name"]}}
    async with proxied(answering(OK), routes=routes) as (_, gateway):
        answer = await gateway.ask(data)
        assert (answer.status, answer.value("x-route")) == (200, name)


async def test_headers_are_set_added_and_removed() -> None:
    """On the way up and on the way down; what the gateway says itself stays."""
    route = {
        "requestHeaders": {"set": {"X-Set": "new"}, "add": {"X-Add": "two"}, "remove": ["X-Remove", "User-Agent"]},
        "responseHeaders": {"set": {"Server": "ours"}, "add": {"Vary": "b"}, "remove": ["X-Powered-By"]},
    }
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: theirs\r\nVary: a\r\nX-Powered-By: it\r\n\r\n"
    async with proxied(answering(reply), route=route) as (origin, gateway):
        lines = ["X-Set: old", "X-Set: older", "X-Add: one", "X-Remove: 1", "User-Agent: me"]
        answer = await gateway.ask(get("/", *lines))
    seen = origin.last
    assert (seen.values("x-set"), seen.values("x-add")) == ([b"new"], [b"one", b"two"])
    assert seen.values("x-remove") == seen.values("user-agent") == []
    assert (answer.values("server"), answer.values("vary")) == ([b"ours"], [b"a", b"b"])
    assert answer.values("x-powered-by") == []


async def test_an_upstream_may_have_a_base_path() -> None:
    """The path of its URL comes before every target."""
    async with serving(echo) as origin, running_gateway(document(f"{origin.url}/base")) as gateway:
        assert (await gateway.ask(get("/a?b=c"))).json["target"] == "/base/a?b=c"


async def test_endpoints_take_turns() -> None:
    """An upstream with two endpoints sends to both."""
    async with serving(echo) as first, serving(echo) as second:
        upstream = {"url": "", "endpoints": [{"url": first.url}, {"url": second.url}]}
        async with running_gateway(document("", upstream=upstream)) as gateway:
            for _ in range(6):
                assert (await gateway.ask(get())).status == 200
        assert (len(first.received), len(second.received)) == (3, 3)


async def test_a_disabled_route_is_not_there() -> None:
    """Nor does it hide another."""
    routes = [{"path": "/a", "enabled": False}, {"path": "/b"}]
    async with proxied(echo, routes=routes) as (_, gateway):
        assert [(await gateway.ask(get(path))).status for path in ("/a", "/b")] == [404, 200]
