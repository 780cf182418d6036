"""Every final answer says when it was made: the origin's word where it gave one, else ours (RFC 9110 6.6.1)."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from tests.support.client import get
from tests.support.gateway import proxied
from tests.support.origin import OK, answering

THEIRS = b"Date: Sun, 06 Nov 1994 08:49:37 GMT"
DATED = OK.replace(b"\r\n\r\n", b"\r\n" + THEIRS + b"\r\n\r\n")
NAMED_IN_CONNECTION = DATED.replace(b"\r\n\r\n", b"\r\nConnection: date\r\n\r\n")


@pytest.mark.parametrize("path", ["/a", "/none", "/health"], ids=["relayed", "404", "system"])
async def test_an_answer_without_a_date_gets_one(path: str) -> None:
    """One field with the time of now, on what an origin without a clock said and on what the gateway says itself."""
    async with proxied(answering(OK), routes=[{"path": "/a"}]) as (_, gateway):
        answer = await gateway.ask(get(path))
    assert abs(parsedate_to_datetime(answer.value("date") or "").timestamp() - time.time()) < 60


async def test_the_date_of_the_origin_is_kept() -> None:
    """As it stands, and once."""
    async with proxied(answering(DATED)) as (_, gateway):
        assert (await gateway.ask(get("/a"))).values("date") == [THEIRS.removeprefix(b"Date: ")]


async def test_a_date_that_connection_names_is_replaced() -> None:
    """What Connection names goes no further; an answer has a date all the same."""
    async with proxied(answering(NAMED_IN_CONNECTION)) as (_, gateway):
        [date] = (await gateway.ask(get("/a"))).values("date")
    assert THEIRS.endswith(date) is False


@pytest.mark.parametrize("reply", [OK, DATED], ids=["without", "with"])
async def test_a_route_may_say_or_drop_the_date(reply: bytes) -> None:
    """An edit of the route has the last word, whatever the origin said."""
    routes = [
        {"path": "/set", "responseHeaders": {"set": {"Date": "some day"}}},
        {"path": "/drop", "responseHeaders": {"remove": ["Date"]}},
    ]
    async with proxied(answering(reply), routes=routes) as (_, gateway):
        assert (await gateway.ask(get("/set"))).values("date") == [b"some day"]
        assert (await gateway.ask(get("/drop"))).values("date") == []
