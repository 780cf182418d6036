"""The composition root of a worker: makes everything, opens the ports, follows the configuration, drains at the end.

Start: configuration first, ports second, so that nothing is half started when either fails. Stop: readiness flips, then
new connections end, then idle ones, then those whose exchange is over, then, after the drain timeout, all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from random import uniform
from typing import TYPE_CHECKING, Any

from dataplane.access_log import LogWriter
from dataplane.admin import Admin
from dataplane.allocator import fix_thresholds
from dataplane.compile_settings import listener_tls
from dataplane.config_source import ConfigSource
from dataplane.limits.sharers import Sharers
from dataplane.node import Node
from dataplane.settings import Settings
from dataplane.start_error import StartError, reason_of
from dataplane.traffic_tls import TrafficTls
from dataplane.upstream.lookup import look_up_with
from shared import defaults, log
from shared.pb.resources_pb2 import Proxy

if TYPE_CHECKING:
    from dataplane.report import Reporter

_HOUSEKEEPING_SECONDS = 1.0
_COLLECT_AFTER = 10_000  # objects; requests leave no cycles behind
_LAST_CALL_SECONDS = 0.1

_Places = tuple[str, int, int, bytes]
"""(host and port of the traffic, admin port, `proxy.tls` as it travels; empty: plain HTTP)"""


class DataPlane:
    """One worker. `start` returns when it serves (or waits for its first configuration), `stop` when it is drained."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self.epoch = uuid.uuid4().hex
        self._tasks: list[asyncio.Task[None]] = []
        self._reporter: Reporter | None = None
        self._opened: _Places | None = None
        self._tls: TrafficTls | None = None
        self._moved = asyncio.Event()

    async def start(self) -> None:
        """Boot, listen, follow. Raises ConfigError or StartError; nothing is left behind then."""
        fix_thresholds()
        gc.disable()  # the first table is all new and all kept: looking through it again and again is half of the boot
        try:
            await self._start()
        finally:
            gc.enable()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._writer = LogWriter(sys.stdout.buffer)
        self.node = Node(loop, self._writer, look_up_with(self.settings.dns_servers), self._clock)
        self.node.live.shedding.memory.limit = self.settings.memory_limit
        self.node.sharers = Sharers(self.settings.worker_count)
        self.node.live.nodes = self.node.sharers.count
        self.admin = Admin(self.node)
        self.source = _source(self.settings, self.node, self.epoch)
        self.node.source = self.source
        self.node.meet = self._meet
        self.node.follow_log_level = self.settings.log_level is None
        self.source.boot()
        self._writer.start()
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        _settle_memory()
        self.node.deadlines.start(loop)
        self._spawn("configuration", self.source.run())
        self._spawn("ports", self._move())
        self._spawn("certificate", self._renew())
        self._spawn("housekeeping", self._keep_house())
        self._spawn("names", self.node.resolving.run())
        self._spawn("checks", self.node.probing.run())
        self._spawn("keys of tokens", self.node.token_keys.run())
        if self.settings.control_plane:
            from dataplane.report import Reporter  # noqa: PLC0415  # gRPC, see _source

            self._reporter = self.node.reporter = Reporter(
                self.settings, self.node.traffic, self.node.live.events, self.epoch
            )
            self._reporter.figures.begin(self.node.revision)
            self._spawn("report", self._reporter.run())
        self._tell_ports()

    @property
    def traffic_port(self) -> int:
        return self.node.listener.port

    @property
    def admin_port(self) -> int:
        return self.admin.port

    async def stop(self, *, delay: float = 0.0) -> None:
        """Drain. `delay`: seconds to go on accepting, while whoever balances sees that we are not ready."""
        listener = self.node.listener
        listener.start_draining()
        self.source.stopped()
        log.info("draining", connections=len(listener.connections), tunnels=len(listener.tunnels))
        if delay:
            await asyncio.sleep(delay)
        await listener.close(last_call=min(delay, _LAST_CALL_SECONDS))
        listener.close_idle()
        compiled = self.node.compiled
        seconds = compiled.runtime.drain_seconds if compiled is not None else defaults.DRAIN_TIMEOUT / 1000
        loop = asyncio.get_running_loop()
        for tunnel in list(listener.tunnels):
            # Spread out, so that all clients do not come back in the same moment.
            loop.call_later(uniform(0, min(seconds / 2, 5.0)), tunnel.close)
        try:
            async with asyncio.timeout(seconds):
                await listener.emptied()
        except TimeoutError:
            log.warn("drain.timeout", connections=len(listener.connections))
            listener.abort_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await listener.emptied()
        await self._close()
        log.info("stopped")

    # ---- the parts of it

    async def _open(self) -> None:
        settings, proxy = self.settings, self._proxy()
        self._opened = _places(settings, proxy)
        host, port, admin_port, _ = self._opened
        self._tls = TrafficTls(proxy.tls) if proxy.HasField("tls") else None
        tls = self._tls.context if self._tls is not None else None
        shared = settings.worker_index is not None
        try:
            await self.node.listener.open(host, port, shared=shared, tls=tls)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port} for traffic: {reason_of(error)}") from error
        try:
            await self.admin.open(settings.admin_host, admin_port)
        except OSError as error:
            where = f"{settings.admin_host}:{admin_port}"
            raise StartError(f"cannot listen on {where} for health and metrics: {reason_of(error)}") from error

    def _meet(self, first: Proxy) -> None:
        """The first configuration of a node that had none is about to be served. ConfigError: it cannot be.

        The ports were opened without knowing it, and in plain text. Where it says something else they are closed before
        it is served, at once: who is connected has been told nothing but 503.
        """
        if self._opened is None or self._opened == _places(self.settings, first) or self.node.draining:
            return
        if first.HasField("tls"):
            listener_tls(first.tls)
        self.node.listener.drop()
        self._moved.set()

    async def _move(self) -> None:
        """Open the ports where the first configuration has them."""
        await self._moved.wait()
        await self.admin.close()
        await self._open()
        self._tell_ports()
        await asyncio.Event().wait()  # no task of a worker ends

    def _tell_ports(self) -> None:
        log.info(
            "listening",
            port=self.traffic_port,
            adminPort=self.admin_port,
            node=self.settings.node_id,
            revision=self.node.revision,
        )

    def _proxy(self) -> Proxy:
        compiled = self.node.compiled
        return compiled.settings.proxy if compiled is not None else Proxy()

    async def broken(self) -> None:
        """Wait until a background task ends, which none ever should; raises what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            raise task.exception() or RuntimeError(f"{task.get_name()} ended")

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            self.node.live.trim()
            self.node.live.events.settle()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)
            if self._tls is not None:
                await self._tls.look()

    async def _close(self) -> None:
        self.node.live.events.settle(all_of_it=True)
        if self._reporter is not None:
            await self._reporter.flush()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.node.listener.close()
        await self.admin.close()
        self.node.deadlines.stop()
        self.node.live.retire((), (), (), ())
        self.node.live.close_stores()
        self._writer.close()


def _places(settings: Settings, proxy: Proxy) -> _Places:
    """Where a worker listens, and how, with these settings and this configuration."""
    return (
        settings.host or proxy.host or defaults.HOST,
        settings.port if settings.port is not None else _or(proxy, "port", defaults.PORT),
        settings.admin_port_from(_or(proxy, "admin_port", defaults.ADMIN_PORT)),
        proxy.tls.SerializeToString(deterministic=True),
    )


def _settle_memory() -> None:
    """What is here by now stays: the collector need not look at it again, nor come by for every few requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _or(proxy: Proxy, name: str, default: int) -> int:
    return int(getattr(proxy, name)) if proxy.HasField(name) else default  # type: ignore[arg-type]  # not a literal


def _source(settings: Settings, node: Node, epoch: str) -> ConfigSource:
    """A file, or a control plane; each is imported only where it is used (gRPC costs memory)."""
    if settings.config is not None:
        from dataplane.file_source import FileSource  # noqa: PLC0415  # see above

        return FileSource(settings, node)
    from dataplane.discovery import Discovery  # noqa: PLC0415  # see above

    return Discovery(settings, node, epoch)
