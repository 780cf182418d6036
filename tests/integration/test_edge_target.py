"""Request targets and Host: one spelling is matched, authorised and forwarded, and what has two readings is refused."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.client import connected, get
from tests.support.gateway import proxied
from tests.support.origin import OK, answering

SAME_FORM = [
    "/a/b",
    "/a/",
    "/a;x=1/b",
    "/a?b?c",
    "/?",
    "/a?x=%2e%2e//%2f%00",
    "/-._~!$&'()*+,;=:@",
    "/a%20b",
    "/..a/b..",
]
NORMAL_FORM = {
    "/a/./b": "/a/b",
    "/a/../b": "/b",
    "/a/b/..": "/a/",
    "/a/.": "/a/",
    "/a/%2e%2E/b": "/b",
    "/a/.%2e/b": "/b",
    "/%2E/a": "/a",
    "//a///b": "/a/b",
    "/%61%7e": "/a~",
    "/caf%c3%a9": "/caf%C3%A9",
    "http://x/a/../b": "/b",
    "http://x": "/",
    "http://X/a?b=c": "/a?b=c",
    "http://x?b=c": "/?b=c",
}
REFUSED = {
    "encoded NUL": "/a%00b",
    "encoded slash": "/a%2fb",
    "encoded slash in upper case": "/a%2F..%2Fb",
    "encoded backslash": "/a%5cb",
    "backslash": "/a\\b",
    "above the root": "/../a",
    "above the root, encoded": "/%2e%2e/a",
    "above the root, later": "/a/../../b",
    "dots with a parameter": "/a/..;x/b",
    "dots with an encoded parameter": "/a/..%3Bx/b",
    "fragment": "/a#b",
    "control byte": "/a\x01",
    "DEL": "/a\x7f",
    "tab": "/a\tb",
    "byte above ASCII": "/caf\xe9",
    "byte above ASCII in the query": "/?caf\xe9",
    "half a percent-encoding": "/a%",
    "bad percent-encoding": "/a%zz",
    "no leading slash": "a/b",
    "star with GET": "*",
    "authority with GET": "x:80",
    "other scheme": "ftp://x/a",
    "scheme without authority": "http:///a",
    "user in the authority": "http://user@x/a",
    "authority that is not Host": "http://y/a",
    "port that is not Host's": "http://x:81/a",
}
HOSTS = {
    "missing": [],
    "twice": ["Host: x", "Host: x"],
    "twice, differing": ["Host: x", "Host: y"],
    "empty": ["Host:"],
    "blank": ["Host: \t"],
    "user": ["Host: user@x"],
    "list": ["Host: x, y"],
    "space": ["Host: x y"],
    "path": ["Host: x/y"],
    "query": ["Host: x?y"],
    "fragment": ["Host: x#y"],
    "backslash": ["Host: x\\y"],
    "port that is no number": ["Host: x:http"],
    "signed port": ["Host: x:-1"],
    "long port": ["Host: x:123456"],
    "half a bracket": ["Host: [::1"],
    "byte above ASCII": ["Host: \xe9"],
    "scheme": ["Host: http://x"],
}


@pytest.mark.parametrize(("sent", "arrived"), [*zip(SAME_FORM, SAME_FORM, strict=True), *NORMAL_FORM.items()])
async def test_a_target_arrives_in_normal_form(sent: str, arrived: str) -> None:
    """Dot segments, double slashes and needless encodings are resolved; the query is left alone."""
    async with proxied(answering(OK)) as (origin, gateway):
        answer = await gateway.ask(get(sent))
        assert (answer.status, origin.last.target) == (200, arrived)


@pytest.mark.parametrize("target", REFUSED.values(), ids=REFUSED)
async def test_a_target_with_two_readings_is_refused(target: str) -> None:
    """400, closed, and nothing at the origin."""
    async with proxied(answering(OK)) as (origin, gateway):
        async with connected(gateway.port) as client:
            answer = await client.ask(get(target) + get("/smuggled"))
            assert answer.status == 400
            assert await client.closed()
        assert origin.received == []


@pytest.mark.parametrize("lines", HOSTS.values(), ids=HOSTS)
async def test_a_doubtful_host_is_refused(lines: list[str]) -> None:
    """Exactly one host name with perhaps a port; anything else is 400 and closed."""
    async with proxied(answering(OK)) as (origin, gateway):
        async with connected(gateway.port) as client:
            head = "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]).encode("latin-1")
            assert (await client.ask(head + get("/smuggled"))).status == 400
            assert await client.closed()
        assert origin.received == []


@pytest.mark.parametrize("host", ["x", "x.y:80", "10.0.0.1:3000", "[::1]:80", "a_b.example", "x-1.internal."])
async def test_a_valid_host_is_served(host: str) -> None:
    """Names, addresses and ports; the name the client used is told to the origin beside its own."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(get("/", host=host))).status == 200
        assert origin.last.value("x-forwarded-host") == host
        assert origin.last.value("host") == f"127.0.0.1:{origin.port}"


async def test_http_10_needs_no_host() -> None:
    """Host came with HTTP/1.1."""
    async with proxied(answering(OK)) as (origin, gateway):
        answer = await gateway.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert (answer.status, len(origin.received)) == (200, 1)


@pytest.mark.parametrize(("method", "target"), [("CONNECT", "x:443"), ("TRACE", "/")])
async def test_connect_and_trace_are_not_served(method: str, target: str) -> None:
    """405 with Allow; what a client sends after CONNECT is not taken for a request."""
    async with proxied(answering(OK)) as (origin, gateway):
        async with connected(gateway.port) as client:
            answer = await client.ask(get(target, method=method))
            assert answer.status == 405
            assert method not in (answer.value("allow") or method)
            if method == "CONNECT":
                assert await client.closed()
        assert origin.received == []


async def test_options_of_the_whole_server_is_allowed() -> None:
    """`*` goes with OPTIONS; an origin that sees it sees `*`, not a path of that name."""
    async with proxied(answering(OK)) as (origin, gateway):
        answer = await gateway.ask(get("*", method="OPTIONS"))
        assert answer.status in (200, 204)
        assert [request.target for request in origin.received] in ([], ["*"])


@pytest.mark.parametrize(
    "path", ["/private/x", "/public/../private/x", "/public/%2e%2e/private/x", "//private/x", "/%70rivate/x"]
)
async def test_every_spelling_of_a_protected_path_is_protected(path: str) -> None:
    """Authentication and routing look at the path that the origin would get."""
    keys = [{"key": hashlib.sha256(b"secret").hexdigest(), "name": "a client"}]
    routes = [{"path": "/public/*", "stripPath": False}, {"path": "/private/*", "stripPath": False, "auth": "required"}]
    security = {"auth": {"type": "apiKey", "keys": keys}}
    async with proxied(answering(OK), routes=routes, security=security) as (origin, gateway):
        assert (await gateway.ask(get(path))).status == 401
        assert origin.received == []
        assert (await gateway.ask(get(path, "X-API-Key: secret"))).status == 200
        assert origin.last.target == "/private/x"


@pytest.mark.parametrize(
    ("host", "status"),
    [("api.example", 200), ("API.example:8080", 200), ("a.wild.example", 200), ("wild.example", 404), ("other", 404)],
)
async def test_routes_are_chosen_by_host(host: str, status: int) -> None:
    """Case and port of a Host do not count; a host that no route knows is not served."""
    routes = [{"path": "/*", "hosts": ["api.example", "*.wild.example"]}]
    async with proxied(answering(OK), routes=routes) as (_, gateway):
        answer = await gateway.ask(get("/", host=host))
        assert answer.status in ((404, 421) if status == 404 else (200,))


async def test_the_authority_of_an_absolute_target_chooses_the_route() -> None:
    """It agrees with Host, or HTTP/1.0 had none."""
    routes = [{"path": "/*", "hosts": ["api.example"]}]
    async with proxied(answering(OK), routes=routes) as (origin, gateway):
        assert (await gateway.ask(get("http://API.example/a", host="api.example"))).status == 200
        assert (await gateway.ask(b"GET http://api.example/b HTTP/1.0\r\n\r\n")).status == 200
        assert [request.target for request in origin.received] == ["/a", "/b"]
