"""What belongs to one connection stays on it, in both directions (RFC 9110 7.6)."""

from __future__ import annotations

import pytest

from tests.support.client import Response, chunked, connected, get, post
from tests.support.gateway import proxied
from tests.support.origin import OK, Received, answering


async def sent_on(data: bytes) -> Received:
    """The request as the origin gets it."""
    async with proxied(answering(OK)) as (origin, gateway):
        assert (await gateway.ask(data)).status == 200
    return origin.last


async def relayed(*lines: str) -> Response:
    """An origin's answer with these lines, as the client gets it."""
    answer = b"".join(f"{line}\r\n".encode("latin-1") for line in ["HTTP/1.1 200 OK", "Content-Length: 2", *lines, ""])
    async with proxied(answering(answer + b"ok")) as (_, gateway):
        return await gateway.ask(get())


DROPPED = {
    "Connection": ["Connection: keep-alive"],
    "named": ["Connection: X-Drop", "X-Drop: 1"],
    "named in another case": ["Connection: x-dROP", "X-Drop: 1"],
    "named in a list": ["Connection: keep-alive, X-Other,, X-Drop", "X-Drop: 1"],
    "named in a second line": ["Connection: close", "Connection: X-Drop", "X-Drop: 1"],
    "named after the field": ["X-Drop: 1", "Connection: X-Drop"],
    "Keep-Alive": ["Keep-Alive: timeout=5"],
    "Proxy-Connection": ["Proxy-Connection: keep-alive"],
    "TE without trailers": ["TE: gzip"],
    "Upgrade that Connection does not name": ["Upgrade: websocket"],
    "Upgrade to HTTP/2": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"],
    "name with an underscore": ["X_Drop: 1"],
}


@pytest.mark.parametrize("lines", DROPPED.values(), ids=DROPPED)
async def test_hop_by_hop_fields_stay_here(lines: list[str]) -> None:
    """None of them, and nothing they name, reaches the origin; other fields do."""
    received = await sent_on(get("/", "X-Kept: 1", *lines))
    assert received.value("x-kept") == "1"
    for name in ("X-Drop", "X_Drop", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "HTTP2-Settings"):
        assert received.values(name) == [], name
    assert received.value("connection") in (None, "keep-alive")


async def test_te_trailers_is_kept() -> None:
    """The one member of TE that an intermediary may say for itself, named in Connection as it must be."""
    received = await sent_on(get("/", "TE: trailers, deflate;q=0.5", "Connection: TE"))
    assert received.value("te") == "trailers"
    assert (received.value("connection") or "").lower() == "te"


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via", "X-Correlation-ID", "Host"]
)
async def test_a_client_cannot_delete_what_the_gateway_adds(name: str) -> None:
    """Naming a field in Connection removes the client's own, never the gateway's."""
    received = await sent_on(get("/", f"Connection: {name}"))
    assert received.value(name)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding"])
async def test_a_client_cannot_delete_the_framing(name: str) -> None:
    """A body arrives as a body whatever Connection names."""
    data = get("/", "Transfer-Encoding: chunked", f"Connection: {name}", method="POST") + chunked(b"abc")
    if name == "Content-Length":
        data = post(b"abc", "/", f"Connection: {name}")
    assert (await sent_on(data)).body == b"abc"


async def test_two_fields_of_one_name_stay_two() -> None:
    """End-to-end fields keep their order, their case and their number."""
    received = await sent_on(get("/", "X-Two: 1", "x-TWO: 2", "Cookie: a=1", "Accept: */*"))
    assert [pair for pair in received.head.fields if pair[0].lower() == b"x-two"] == [
        (b"X-Two", b"1"),
        (b"x-TWO", b"2"),
    ]
    assert (received.value("cookie"), received.value("accept")) == ("a=1", "*/*")


@pytest.mark.parametrize(
    "lines",
    [
        ["Connection: X-Drop", "X-Drop: 1"],
        ["Connection: close, x-drop", "X-Drop: 1"],
        ["X-Drop: 1", "Connection: keep-alive", "Connection: X-Drop"],
        ["Keep-Alive: timeout=5, max=100", "Connection: keep-alive"],
        ["Proxy-Connection: keep-alive"],
        ["Upgrade: h2c", "Connection: Upgrade"],
        ["Upgrade: websocket"],
        ["TE: trailers"],
    ],
)
async def test_hop_by_hop_fields_of_an_answer_stay_here(lines: list[str]) -> None:
    """The client sees neither them nor what they name; the connection to it stays open."""
    answer = await relayed("X-Kept: 1", *lines)
    assert answer.value("x-kept") == "1"
    for name in ("X-Drop", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Connection"):
        assert answer.values(name) == [], name


async def test_an_origin_cannot_delete_or_speak_for_the_gateway() -> None:
    """The gateway's own fields are there once, whatever the origin says or names."""
    answer = await relayed(
        "Connection: X-Correlation-ID, X-API-Version",
        "X-Correlation-ID: forged",
        "X-API-Version: 9",
        "X-Config-Version: 9999",
    )
    assert answer.value("x-correlation-id") not in (None, "forged")
    assert answer.value("x-api-version") == "1.0.0"
    assert answer.value("x-config-version") not in (None, "9999")


async def test_cookies_are_never_folded() -> None:
    """Two Set-Cookie lines arrive as two."""
    answer = await relayed("Set-Cookie: a=1, still a", "Set-Cookie: b=2")
    assert answer.values("set-cookie") == [b"a=1, still a", b"b=2"]


@pytest.mark.parametrize(
    ("data", "via"),
    [
        (get(), "1.1 flexgate"),
        (b"GET / HTTP/1.0\r\n\r\n", "1.0 flexgate"),
        (b"\r\nGET / HTTP/1.0\r\nX-A: HTTP/1.1\r\n\r\n", "1.0 flexgate"),
        (b"GET /HTTP/1.1? HTTP/1.0\r\nX-A:  HTTP/1.1\r\n\r\n", "1.0 flexgate"),
        (get("/", "Via: 1.0 fred, 1.1 barney"), "1.0 fred, 1.1 barney, 1.1 flexgate"),
        (get("/", "Via: 1.0 fred", "Via: 1.1 barney"), "1.0 fred, 1.1 barney, 1.1 flexgate"),
    ],
)
async def test_via_tells_the_way(data: bytes, via: str) -> None:
    """The gateway adds itself last, with the version it was spoken to in."""
    assert (await sent_on(data)).value("via") == via


async def test_each_pipelined_request_has_a_version_of_its_own() -> None:
    """What comes behind a request of HTTP/1.1 in the same read may be of HTTP/1.0."""
    async with proxied(answering(OK)) as (origin, gateway), connected(gateway.port) as client:
        await client.send(get() + get() + b"GET / HTTP/1.0\r\n\r\n")
        for _ in range(3):
            assert (await client.response()).status == 200
        assert [head.value("via") for head in origin.received] == ["1.1 flexgate", "1.1 flexgate", "1.0 flexgate"]
        assert await client.closed()


async def test_max_forwards_counts_down_for_options() -> None:
    """OPTIONS goes on with one less; at zero the gateway is the final recipient."""
    async with proxied(answering(OK)) as (origin, gateway):
        await gateway.ask(get("/", "Max-Forwards: 3", method="OPTIONS"))
        assert origin.last.value("max-forwards") == "2"
        await gateway.ask(get("/", "Max-Forwards: 3"))
        assert origin.last.value("max-forwards") == "3"
        answer = await gateway.ask(get("/", "Max-Forwards: 0", method="OPTIONS"))
        assert answer.status in (200, 204)
        assert len(origin.received) == 2
