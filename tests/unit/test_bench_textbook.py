"""The textbook proxy is a fair contestant: it forwards what it is given, streams, and passes on no hop-by-hop field."""

from __future__ import annotations

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.bench import textbook


async def echo(request: web.Request) -> web.Response:
    """Answer with what arrived."""
    body = await request.read()
    headers = {"X-Seen-Path": request.path_qs, "X-Seen-Key": request.headers.get("X-API-Key", "")}
    return web.Response(status=201, body=body, headers={**headers, "Keep-Alive": "timeout=5"})


async def test_requests_and_answers_pass_through() -> None:
    """Method, path, query, key and body reach the origin; status, headers and body come back."""
    origin = web.Application(client_max_size=1 << 22)
    origin.router.add_route("*", "/{path:.*}", echo)
    body = bytes(range(256)) * 4096
    async with (
        TestServer(origin) as behind,
        TestServer(textbook.application(behind.port or 0)) as proxy,
        ClientSession() as client,
    ):
        headers = {"X-API-Key": "k", "Content-Type": "application/octet-stream"}
        async with client.post(proxy.make_url("/a/b?c=d"), data=body, headers=headers) as response:
            assert response.status == 201
            assert response.headers["X-Seen-Path"] == "/a/b?c=d"
            assert response.headers["X-Seen-Key"] == "k"
            assert "Keep-Alive" not in response.headers
            assert await response.read() == body
