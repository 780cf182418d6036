"""A small upstream to try the gateway with: answers every request with what it received, as JSON.

Two paths do something else, to see what the gateway makes of it: /status/503 answers with that status, and /slow/1500
takes that many milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from aiohttp import web

SLOWEST = 60_000  # milliseconds


async def echo(request: web.Request) -> web.Response:
    """{method, path, query, headers, bytes}: the request as it arrived here."""
    seen = {
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "headers": dict(request.headers),
        "bytes": len(await request.read()),
    }
    return web.json_response(seen, dumps=lambda body: json.dumps(body, indent=2) + "\n")


async def status(request: web.Request) -> web.Response:
    """The status in the path, 200 to 599."""
    return web.Response(status=int(request.match_info["code"]), text=f"status {request.match_info['code']}\n")


async def slow(request: web.Request) -> web.Response:
    """The echo, after the milliseconds in the path."""
    await asyncio.sleep(min(int(request.match_info["ms"]), SLOWEST) / 1000)
    return await echo(request)


def application() -> web.Application:
    """The upstream as an aiohttp application."""
    app = web.Application()
    app.router.add_route("*", "/status/{code:[2-5][0-9][0-9]}", status)
    app.router.add_route("*", "/slow/{ms:[0-9]{1,6}}", slow)
    app.router.add_route("*", "/{path:.*}", echo)
    return app


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=9000, help="default 9000, on 127.0.0.1")
    web.run_app(application(), host="127.0.0.1", port=parser.parse_args().port, print=None)


if __name__ == "__main__":
    main()
