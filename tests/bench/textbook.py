"""The proxy one writes from aiohttp's documentation: an Application, one handler, one ClientSession, bodies streamed.

Nothing is done to make it slow and nothing clever to make it fast: uvloop, one shared session, no access log, bodies
passed on as they come and not decoded. It has no policy at all. Runs as `python -m tests.bench.textbook PORT ORIGIN`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_SESSION = web.AppKey("session", ClientSession)
_ORIGIN = web.AppKey("origin", str)


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The header fields that may be passed on."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


async def forward(request: web.Request) -> web.StreamResponse:
    """Send the request to the origin and stream its answer back."""
    url = request.app[_ORIGIN] + request.path_qs
    body = request.content if request.can_read_body else None
    async with request.app[_SESSION].request(
        request.method, url, headers=end_to_end(request.headers), data=body, allow_redirects=False
    ) as upstream:
        response = web.StreamResponse(status=upstream.status, headers=end_to_end(upstream.headers))
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def session(app: web.Application) -> AsyncIterator[None]:
    """One session for the life of the process, with room for every connection of the load."""
    connector = TCPConnector(limit=0, keepalive_timeout=600)
    async with ClientSession(connector=connector, auto_decompress=False, timeout=ClientTimeout(total=None)) as client:
        app[_SESSION] = client
        yield


def application(origin: int) -> web.Application:
    """The proxy in front of the origin's port."""
    app = web.Application()
    app[_ORIGIN] = f"http://127.0.0.1:{origin}"
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


if __name__ == "__main__":
    web.run_app(
        application(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop=uvloop.new_event_loop(),
        access_log=None,
        keepalive_timeout=600,
        print=None,
    )
