"""The data plane's parts without sockets: configurations compiled, exchanges made by hand, clocks that tests turn.

Everything is the real thing; only the loop does not run and time stands still until a test moves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dataplane.compile import Compiled, compile_table
from dataplane.exchange import Exchange
from dataplane.headers import client_ip
from dataplane.http1.deadlines import Deadlines
from dataplane.http1.downstream import DownstreamConnection
from dataplane.http1.fields import FIELDS
from dataplane.http1.request_head import examine
from dataplane.listener import Listener
from dataplane.live import Live
from dataplane.metrics import Traffic
from dataplane.routing import Found
from dataplane.runtime import Route
from dataplane.upstream.spreading import spread
from shared.document import read
from shared.table import Table, table_of
from shared.yaml_dump import dump

EPOCH = 1_900_000_000.0
"""The wall clock, in epoch seconds, when the tests' own clock stands at 0."""
ADDRESS = "198.51.100.7"
"""What names of endpoints resolve to."""
UPSTREAMS = [{"name": "origin", "url": "http://127.0.0.1:9"}]


class Bench:
    """One worker's live state. `now` is its clock, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0.0
        self.set_by = 0.0  # seconds that somebody has put the time of day forward
        self.deadlines = Deadlines(self.clock)
        self.traffic = Traffic()
        self.live = Live(loop, self.deadlines, self.traffic, clock=self.clock, wall=self.wall)
        self.listener = Listener(_never, self.deadlines, loop)
        self.compiled: Compiled | None = None

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now + self.set_by

    def serve(self, document: dict[str, Any] | Table) -> Compiled:
        """Compile beside what is served and take over, as a node does."""
        table = document if isinstance(document, Table) else tabled(document)
        revision = self.compiled.runtime.revision + 1 if self.compiled is not None else 1
        compiled = compile_table(table, revision, self.compiled, self.live)
        self._resolve(compiled)
        self.live.shedding.obey(compiled.runtime.overload)
        self.live.follow(compiled.runtime.upstreams.values())
        if self.compiled is not None:
            runtime = compiled.runtime
            self.live.retire(compiled.pools, compiled.limit_keys, runtime.routes, runtime.upstreams)
        self.compiled = compiled
        return compiled

    def _resolve(self, compiled: Compiled) -> None:
        """Every name has one and the same address."""
        for upstream in compiled.runtime.upstreams.values():
            for name in upstream.names:
                name.addresses = (ADDRESS,)
            self.live.relocate(upstream, spread(upstream.listed, upstream.guard, self.live))

    def exchange(
        self,
        *fields: tuple[str, str],
        method: str = "GET",
        path: str = "/",
        query: str | None = None,
        ip: str = "203.0.113.9",
        http11: bool = True,
    ) -> Exchange:
        """A request whose head was read but not examined; Host is added where the fields have none."""
        connection = DownstreamConnection(self.listener)
        connection.ip, connection.port = ip, 3000
        x = Exchange(connection, self.now)
        x.method, x.http11, x.path, x.query = method, http11, path, query
        x.raw_target = (path if query is None else f"{path}?{query}").encode("latin-1")
        if not any(name.lower() == "host" for name, _ in fields):
            fields = (("Host", "x"), *fields)
        x.headers = [(FIELDS.of(name.encode("latin-1")), value.encode("latin-1")) for name, value in fields]
        return x

    def filter(self, *fields: tuple[str, str], **request: Any) -> Exchange:
        """Examine, match and filter a request as `handle` does; raises the GatewayError that a filter raised."""
        assert self.compiled is not None
        runtime = self.compiled.runtime
        x = self.exchange(*fields, **request)
        x.runtime, x.correlation_id = runtime, b"req-1"
        examine(x)
        found = runtime.router.match(x.path, x.connection.host_name(x.host), x.method, (), x.query)
        assert isinstance(found, Found), f"no route for {x.path}"
        route: Route = found.target
        x.found, x.route, x.client_ip = found, route, client_ip(x, runtime.trusted)
        for step in route.filters:
            assert step(x) is None
        return x


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench with a loop of its own."""
    loop = asyncio.new_event_loop()
    try:
        yield Bench(loop)
    finally:
        loop.close()


def tabled(document: dict[str, Any]) -> Table:
    """The table of a document, whose upstreams may be left out."""
    return table_of(read(dump({"upstreams": UPSTREAMS, **document})).config)


def routed(**keys: Any) -> dict[str, Any]:
    """A document with one route, "/*" unless `path` says otherwise, of these keys."""
    return {"routes": [{"path": "/*", "upstream": "origin", **keys}]}


async def _never(x: Exchange) -> None:
    raise AssertionError(f"{x} was handled")
