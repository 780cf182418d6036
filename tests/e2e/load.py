"""Clients that keep asking, on connections kept open, and forgive nothing.

Every answer must be the 200 that belongs to its request, whole. Whatever else a client can see counts as failed: an
error, another's answer, one cut short, none at all. Answers of the gateway that a test allows for (`tolerated`) count
apart. Told `Connection: close`, or refused a connection, a client goes to
the next data plane, as one behind a balancer does; only when all refuse it has it failed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.support.client import RawClient, connected, get, post
from tests.support.deadline import Bell
from tests.support.wire import Malformed, Truncated

CONNECTIONS = 6
FOR_GOOD = sys.maxsize
_DEADLINE = 20.0
_POST_EVERY = 4


class Load:
    """What the clients saw: `answered` requests by revision that served them, and `failures`, one line each.

    `statuses` counts every answer, also those that are `tolerated` and neither answered nor failed.
    """

    def __init__(self, ports: tuple[int, ...], visit: int, tolerated: frozenset[int] = frozenset()) -> None:
        self.ports = ports
        self.visit = visit
        self.tolerated = tolerated
        self.statuses: Counter[int] = Counter()
        self.answered: Counter[int] = Counter()
        self.by_port: Counter[int] = Counter()
        self.failures: list[str] = []
        self._numbers = itertools.count(1)
        self._bell = Bell()
        self._stopping = False

    @property
    def total(self) -> int:
        """Requests that were answered as they should be."""
        return self.answered.total()

    @property
    def refused(self) -> int:
        """Requests that got an answer which is tolerated."""
        return sum(self.statuses[status] for status in self.tolerated)

    async def more(self, count: int = 50) -> None:
        """Wait for so many further answers: the load goes on through whatever just happened."""
        wanted = self.total + count
        await self._bell.until(lambda: self.total >= wanted, f"{count} more answers", seconds=_DEADLINE)

    async def more_of(self, status: int, count: int = 1) -> None:
        """Wait for so many further answers of a status."""
        wanted = self.statuses[status] + count
        await self._bell.until(
            lambda: self.statuses[status] >= wanted, f"{count} more answers {status}", seconds=_DEADLINE
        )

    async def more_from(self, port: int, count: int = 50) -> None:
        """Wait for so many further answers of one data plane."""
        wanted = self.by_port[port] + count
        await self._bell.until(lambda: self.by_port[port] >= wanted, f"{count} answers of {port}", seconds=_DEADLINE)

    def stop(self) -> None:
        """Let each client finish the request it is at."""
        self._stopping = True

    async def client(self, index: int) -> None:
        """One client, until stopped."""
        turn = index
        while not self._stopping:
            for port in (self.ports[(turn + step) % len(self.ports)] for step in range(len(self.ports))):
                try:
                    async with connected(port) as connection:
                        await self._talk(connection, port)
                    break
                except ConnectionRefusedError:
                    continue
            else:
                self._failed("every data plane refused the connection")
                return
            turn += 1

    async def _talk(self, connection: RawClient, port: int) -> None:
        """Requests on one connection until it ends."""
        for _ in range(self.visit):
            if self._stopping or not await self._ask(connection, port, next(self._numbers)):
                return

    async def _ask(self, connection: RawClient, port: int, number: int) -> bool:
        """One request; whether the connection can carry another."""
        # With the key a POST may be sent to another endpoint, as clients do that want it to be repeated.
        target, method = f"/load/{number}", "GET" if number % _POST_EVERY else "POST"
        body = b"" if method == "GET" else b"%d bottles" % number
        try:
            answer = await connection.ask(
                get(target) if method == "GET" else post(body, target, f"Idempotency-Key: {number}")
            )
        except (Truncated, Malformed, OSError) as error:  # TimeoutError is one
            self._failed(f"{method} {target}: {error!r}")
            return False
        self.statuses[answer.status] += 1
        if answer.status in self.tolerated:
            self._bell.ring()
        elif answer.status != 200 or answer.body != f"{method} {target.removeprefix('/load')} ".encode() + body:
            self._failed(f"{method} {target}: {answer.status} {answer.body[:200]!r}")
        else:
            self.answered[int(answer.value("x-config-version") or 0)] += 1
            self.by_port[port] += 1
            self._bell.ring()
        return answer.value("connection") != "close"

    def _failed(self, line: str) -> None:
        self.failures.append(line)
        self._bell.ring()


@asynccontextmanager
async def under_load(
    *ports: int, connections: int = CONNECTIONS, visit: int = FOR_GOOD, tolerated: Iterable[int] = ()
) -> AsyncIterator[Load]:
    """Load on these data planes while the block runs, which begins when they answer; after it every client is done.

    A client goes on to the next data plane after `visit` requests, on a new connection.
    """
    load = Load(ports, visit, frozenset(tolerated))
    clients = [asyncio.create_task(load.client(index)) for index in range(connections)]
    try:
        await load.more()
        yield load
    finally:
        load.stop()
        await asyncio.gather(*clients)  # rather than a TaskGroup: an assertion of the block is raised as it is
