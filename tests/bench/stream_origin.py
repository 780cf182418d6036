"""An origin for long bodies, on aiohttp: sends as many bytes as asked, counts those it receives.

In the middle of an upload it stops reading for a while: whoever stands in front must then stop reading too, or hold
the rest in memory. Runs as `python -m tests.bench.stream_origin PORT`.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from tests.bench.origin import SMALL, SMALL_BODY

DOWN = "/bench/down"
UP = "/bench/up"
CHUNK = b"\x00" * (1 << 18)
STALL_SECONDS = 0.5
_STALL = web.AppKey("stall", float)


async def small(request: web.Request) -> web.Response:
    """The probe of readiness."""
    return web.Response(text=SMALL_BODY, content_type="application/json")


async def down(request: web.Request) -> web.StreamResponse:
    """A body of as many bytes as the path ends with, a multiple of the chunk."""
    size = int(request.match_info["size"])
    response = web.StreamResponse(headers={"Content-Length": str(size)})
    await response.prepare(request)
    for _ in range(size // len(CHUNK)):
        await response.write(CHUNK)
    return response


async def up(request: web.Request) -> web.Response:
    """Read the body, stall once after its first quarter, and answer how many bytes came."""
    received, quarter = 0, (request.content_length or 0) // 4
    async for chunk in request.content.iter_any():
        if received < quarter <= received + len(chunk):
            await asyncio.sleep(request.app[_STALL])
        received += len(chunk)
    return web.json_response({"received": received})


def application(stall_seconds: float = STALL_SECONDS) -> web.Application:
    """The origin with its three paths."""
    app = web.Application()
    app[_STALL] = stall_seconds
    app.add_routes([web.get(SMALL, small), web.get(DOWN + "/{size}", down), web.post(UP, up)])
    return app


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
