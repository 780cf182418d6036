"""This node as it is now: what health, metrics and the config dump read, and the one swap of the runtime.

It is the target of the configuration source (config_source.Target): a table comes in, is compiled beside what serves,
and takes over by one assignment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dataplane.access_log import LogWriter
from dataplane.compile import Compiled, compile_table
from dataplane.compile_upstream import guard_of
from dataplane.config_source import ConfigSource, Status
from dataplane.explaining import explained
from dataplane.filters.limit_rules import store_key_of
from dataplane.gateway import Gateway
from dataplane.http1.deadlines import Deadlines
from dataplane.limits.sharers import Sharers
from dataplane.listener import Listener
from dataplane.live import Live
from dataplane.metrics import Traffic
from dataplane.system import system_endpoints
from dataplane.tokens.refreshing import Refreshing
from dataplane.upstream.lookup import LookUp, look_up_with
from dataplane.upstream.probing import Probing
from dataplane.upstream.resolving import Resolving
from dataplane.upstream.spreading import spread
from shared import log
from shared.faults import Fault
from shared.pb.explain_pb2 import Explanation, SampleRequest
from shared.pb.resources_pb2 import Proxy
from shared.pb.rollout_pb2 import Figures
from shared.table import Table

if TYPE_CHECKING:
    from dataplane.report import Reporter
    from dataplane.runtime import Upstream


class Node:
    """The state of one worker: counts, live state, gateway and listener, and the configuration they run."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: LogWriter,
        look_up: LookUp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started = time.monotonic()
        self.traffic = Traffic()
        self.deadlines = Deadlines(clock)
        self.live = Live(loop, self.deadlines, self.traffic, clock=clock)
        look_up = look_up or look_up_with()
        self.resolving = Resolving(self.live, look_up, self._addresses_changed)
        self.token_keys = Refreshing(look_up)
        self.probing = Probing()
        self.log = writer
        self.deadlines.also += [writer.flush, self.live.sweep]
        self.gateway = Gateway(self.traffic, self.live.events, writer, system_endpoints(self))
        self.listener = Listener(self.gateway.handle, self.deadlines, loop)
        self.listener.may_accept = self.live.shedding.may_accept
        self.listener.clock = clock
        self.source: ConfigSource | None = None
        self.reporter: Reporter | None = None
        self.sharers = Sharers()
        self.follow_log_level = False  # whether `logging.level` is the process's own level, too
        self.meet: Callable[[Proxy], None] = lambda first: None  # asked before the first configuration is served
        self._compiled: Compiled | None = None

    def __repr__(self) -> str:
        return f"<Node revision {self.revision} {self.listener!r}>"

    @property
    def compiled(self) -> Compiled | None:
        """What is served; None before the first configuration."""
        return self._compiled

    @property
    def upstreams(self) -> Collection[Upstream]:
        """Those that are served."""
        return self._compiled.runtime.upstreams.values() if self._compiled is not None else ()

    @property
    def revision(self) -> int:
        return self._compiled.runtime.revision if self._compiled is not None else 0

    @property
    def source_status(self) -> Status:
        """Where the configuration comes from, and how that goes."""
        return self.source.status if self.source is not None else Status()

    @property
    def records_lost(self) -> int:
        """Requests whose measurements were dropped on their way to the control plane."""
        return self.reporter.records_lost if self.reporter is not None else 0

    @property
    def events_lost(self) -> int:
        """Events that were dropped on their way to the control plane."""
        return self.reporter.events_lost if self.reporter is not None else 0

    @property
    def draining(self) -> bool:
        return self.listener.draining

    # ---- the target of the configuration source

    def apply(self, table: Table, revision: int) -> list[Fault]:
        """Serve this from now on; ConfigError: nothing changed."""
        compiled = compile_table(table, revision, self._compiled, self.live)
        if self._compiled is None:
            self.meet(compiled.settings.proxy)
        previous, self._compiled = self._compiled, compiled
        if self.reporter is not None:
            self.reporter.turn(revision)
        self.listener.obey(compiled.runtime.limits)
        self.gateway.runtime = compiled.runtime  # the swap
        if self.follow_log_level:
            log.set_level(compiled.runtime.log.level)
        self.live.shedding.obey(compiled.runtime.overload)
        self.live.follow(compiled.runtime.upstreams.values())
        self.resolving.follow(compiled.runtime.upstreams.values())
        self.live.follow_store(store_key_of(compiled.settings))
        self.probing.follow(compiled.runtime.upstreams.values())
        sources = {route.keys for route in compiled.runtime.routes.values() if route.keys is not None}
        self.token_keys.follow(sources, guard_of(compiled.settings))
        if previous is not None:
            runtime = compiled.runtime
            self.live.retire(compiled.pools, compiled.limit_keys, runtime.routes, runtime.upstreams)
        return []

    def compiles(self, table: Table) -> None:
        """ConfigError where this would be refused. Works beside what is served, also in a thread."""
        compile_table(table, self.revision, self._compiled, self.live.aside())

    def figures(self) -> Figures | None:
        """What was served under this revision; None where nobody counts."""
        return self.reporter.served() if self.reporter is not None else None

    def explain(self, request: SampleRequest) -> Explanation:
        """What would become of this request now."""
        return explained(self, request)

    def _addresses_changed(self, name: str) -> None:
        """A host of the upstream has other addresses from now on: those that left drain, those that stay keep all."""
        upstreams = self._compiled.runtime.upstreams if self._compiled is not None else {}
        upstream = upstreams.get(name)
        if upstream is None:
            return
        # Requests of a configuration before this one may wait for the name, too. This one comes last: it is in charge.
        for pinned in {id(one): one for host in upstream.names for one in host.waiters.values()}.values():
            if pinned is not upstream:
                self.live.relocate(pinned, spread(pinned.listed, pinned.guard, self.live))
        self.live.relocate(upstream, spread(upstream.listed, upstream.guard, self.live))
        if upstream.check is not None:
            self.probing.follow(upstreams.values())

    def live_nodes(self, count: int, every: float) -> None:
        """How many nodes the control plane counts, this one included; it says so every so many seconds."""
        count = self.sharers.hear(count, self.live.clock(), every)
        if count != self.live.nodes:
            log.info("nodes.live", count=count)
        self.live.nodes = count
