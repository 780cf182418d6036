"""The client and the origin of the streaming case, face to face."""

from __future__ import annotations

from itertools import chain, repeat

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from tests.bench import stream_origin
from tests.bench.invalid import InvalidRunError
from tests.bench.stream_client import download, upload
from tests.bench.stream_origin import CHUNK, DOWN

SIZE = 8 * len(CHUNK)


async def test_every_byte_is_counted_both_ways() -> None:
    """What was sent has arrived, and the highest memory seen is what counts, not the last."""
    async with TestServer(stream_origin.application(stall_seconds=0)) as origin:
        for transfer in (download, upload):
            rss = chain([100, 700], repeat(300)).__next__
            streamed = await transfer(origin.port or 0, SIZE, rss, stall=0)
            assert streamed.rss_before == 100
            assert streamed.growth == 600
            assert streamed.bytes_per_second > 0


async def short(request: web.Request) -> web.Response:
    """Fewer bytes than were asked for, with honest framing."""
    return web.Response(body=CHUNK)


async def refused(request: web.Request) -> web.Response:
    """An error that comes quickly."""
    raise web.HTTPServiceUnavailable


@pytest.mark.parametrize(("handler", "reason"), [(short, "bytes went through"), (refused, "the stream broke")])
async def test_a_stream_that_is_cut_or_refused_is_invalid(handler: Handler, reason: str) -> None:
    """Neither a short body nor an error passes for a fast transfer."""
    app = web.Application()
    app.router.add_get(DOWN + "/{size}", handler)
    async with TestServer(app) as origin:
        with pytest.raises(InvalidRunError, match=reason):
            await download(origin.port or 0, SIZE, lambda: 0, stall=0)
