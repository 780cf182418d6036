"""What requests leave behind: nothing that only the cyclic collector could free.

An exchange in a cycle lives until the collector comes by, on memory that is cold by then; that cost a tenth of the CPU
of a request.
"""

from __future__ import annotations

import gc
from collections import Counter

import pytest

from dataplane.exchange import Exchange
from tests.support.client import get, post
from tests.support.gateway import proxied
from tests.support.origin import Script, answering_once, echo

LIMITED = {"path": "/limited", "rateLimit": {"max": 1, "windowMs": 60_000}}
ROUTES = [{"path": "/a"}, {"path": "/closed", "auth": "required"}, LIMITED]
AUTH = {"auth": {"type": "apiKey", "keys": [{"key": "0" * 64, "name": "nobody"}]}}


@pytest.mark.parametrize(
    ("script", "data", "status"),
    [
        (echo, get("/a"), 200),
        (echo, post(b"x" * 300_000, "/a"), 200),
        (echo, get("/health"), 200),
        (echo, get("/none"), 404),
        (echo, get("/a b"), 400),
        (echo, get("/closed"), 401),
        (echo, get("/limited"), 429),
        (answering_once(b"garbage\r\n\r\n"), get("/a"), 502),
    ],
    ids=["relayed", "a body in a task", "system", "no route", "malformed", "no credential", "limited", "bad upstream"],
)
async def test_an_exchange_is_freed_when_it_ends(script: Script, data: bytes, status: int) -> None:
    """After an answer, whatever it was, no exchange waits for the collector."""
    async with proxied(script, routes=ROUTES, security=AUTH, circuitBreaker={"enabled": False}) as (_, gateway):
        for _ in range(3):
            await gateway.ask(data)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)  # what is found is kept to be looked at
        try:
            answers = [await gateway.ask(data) for _ in range(3)]
            gc.collect()
            left = Counter(type(found).__name__ for found in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert {answer.status for answer in answers} == {status}
    assert left[Exchange.__name__] == 0, left
