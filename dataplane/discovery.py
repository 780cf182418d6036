"""Follows a control plane: boots from what is kept on disk, then dials, takes what is published and answers for it.

Nothing here can take the served configuration away: whatever happens to the stream, the control plane or the disk, what
is served stays until a newer table was verified by its digest and compiled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from grpc import aio

from dataplane.answering import CAPABILITY, Answering
from dataplane.boot import boot
from dataplane.boot_guard import BootGuard
from dataplane.config_source import Held, Status, Target, on_wire
from dataplane.config_stream import INTERVAL, ConfigStream, Ended
from dataplane.dial import Redial, addresses, describe, dial, metadata
from dataplane.enrolling import Enrolling
from dataplane.identity import IdentityError
from dataplane.intake import Intake, Proposal
from dataplane.keeper import Keeper
from dataplane.last_known_good import LastKnownGood
from dataplane.serving import Serving
from dataplane.settings import Settings
from shared import __version__, log
from shared.capabilities import ANNOUNCED
from shared.faults import ConfigError, Fault
from shared.pb import discovery_pb2 as pb
from shared.pb.discovery_pb2_grpc import ConfigDiscoveryStub


class Discovery:
    """The configuration of a node that has a control plane: a ConfigSource."""

    def __init__(
        self,
        settings: Settings,
        target: Target,
        instance_epoch: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`instance_epoch` is new at every start of the process. ConfigError: the cache directory cannot be used."""
        self._settings = settings
        self._target = target
        self._instance_epoch = instance_epoch
        self._clock, self._now, self._sleep = clock, now, sleep
        self._cache = LastKnownGood(settings.worker_dir, settings.cache_key, now=now)
        self._guard = BootGuard(settings.worker_dir, __version__)
        self._serving = Serving(target, self._guard, clock=clock)
        self._keeper = Keeper(self._serving, self._cache, self._guard, settings.trust_after, clock=clock)
        self._answering = Answering(target, lambda: self._serving.held, clock=clock)
        self._jitter = jitter
        self._redial = Redial(jitter)
        self._enrolling = Enrolling(settings, now=now, jitter=jitter)
        # This connection's:
        self._intake = Intake(None)
        self._address = settings.control_plane[0]
        self._connected = False
        self._newest = False  # what is served is what the control plane wants served
        # What the status tells:
        self._confirmed: float | None = None  # when it last was the newest
        self._config_error = self._connection_error = self._fallback = ""

    def __repr__(self) -> str:
        return f"<Discovery {self.status}>"

    @property
    def status(self) -> Status:
        """As it is now."""
        served = self._serving.served
        return Status(
            source=served.origin if served else "none",
            revision=served.held.revision if served else 0,
            digest=served.held.table.digest.hex() if served else "",
            connected=self._connected,
            control_plane=self._address,
            age_seconds=None if self._confirmed is None else max(0.0, self._clock() - self._confirmed),
            last_error=self._config_error or self._connection_error,
            drift_detected=self._intake.drifts,
            apply_failures=self._serving.failures,
            save_failures=self._keeper.failures,
            fallback=self._fallback,
        )

    def boot(self) -> None:
        """Serve what is kept on disk, else the seed, else nothing yet."""
        booted = boot(self._serving, self._cache, self._guard, seed=self._settings.seed, key=self._settings.cache_key)
        self._fallback, self._config_error = booted.fallback, booted.seed_error
        if self._serving.served is None:
            return
        self._confirmed = self._clock()
        if booted.generation is None:
            self._keeper.applied()
        else:
            self._confirmed -= max(0.0, self._now() - booted.generation.saved)
            self._keeper.booted(booted.generation.held)

    async def run(self) -> None:
        """Follow the control plane until cancelled."""
        self._guard.serving()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._enrolling.run())
            tasks.create_task(self._follow())

    def stopped(self) -> None:
        """The process ends because it was asked to: nothing died of what it serves."""
        self._guard.stopped()

    # ---- from one stream to the next

    async def _follow(self) -> None:
        drained = False
        for address in addresses(self._settings, self._jitter):
            was_drained, drained = drained, await self._converse(address)
            # Sent elsewhere, at once; but who is sent away again and again goes slower.
            if was_drained or not drained:
                await self._sleep(self._redial.delay())

    async def _converse(self, address: str) -> bool:
        """One stream, from the dial to its end; whether the control plane sent us elsewhere."""
        self._address, self._intake = address, Intake(self._serving.held, self._intake.drifts)
        drained = False
        try:
            await self._enrolling.ready(address)
            async with dial(address, self._settings) as channel:
                call = ConfigDiscoveryStub(channel).Stream(metadata=metadata(self._settings))
                await ConfigStream(call, self, self._intake, self._answering).run()
        except Ended as end:
            reason, drained = str(end), end.drained
        except aio.AioRpcError as error:
            reason = describe(error)
        except IdentityError as error:
            reason = str(error)
        except OSError as error:  # a TLS file
            reason = f"{error.filename}: {error.strerror}"
        self._disconnected(f"control plane {address}: {reason}")
        return drained

    def _disconnected(self, reason: str) -> None:
        if self._connected or reason != self._connection_error:  # not once for every attempt of a long night
            log.warn("control_plane.disconnected", reason=reason)
        self._connected, self._newest, self._connection_error = False, False, reason

    # ---- what a stream asks of its node

    def hello(self) -> pb.Hello:
        """Who this is and what it holds; a seed belongs to no control plane and counts as nothing."""
        held = _known(self._serving.held)
        return pb.Hello(
            node_id=self._settings.node_id,
            instance_epoch=self._instance_epoch,
            version=__version__,
            capabilities=[*ANNOUNCED, CAPABILITY],
            labels=self._settings.labels,
            held=pb.Held(revision=held.revision, digest=held.table.digest, store_epoch=held.epoch) if held else None,
        )

    def heartbeat(self) -> pb.NodeHeartbeat:
        """What is served now."""
        held = _known(self._serving.held)
        if held is None:
            return pb.NodeHeartbeat()
        return pb.NodeHeartbeat(revision=held.revision, digest=held.table.digest, figures=self._target.figures())

    def heard(self, message: pb.ControlMessage) -> None:
        """The control plane said this, and the intake has taken it."""
        kind = message.WhichOneof("message")
        if kind == "drain":
            return
        if not self._connected:
            log.info("control_plane.connected", address=self._address)
            self._connected, self._connection_error = True, ""
            self._redial.succeeded()
        if kind == "heartbeat":
            beat = message.heartbeat
            self._target.live_nodes(max(1, beat.live_nodes), beat.interval_ms / 1000 or INTERVAL)
        if kind == "current" and self._intake.settled:
            self._newest, self._config_error = True, ""
        if self._newest:
            self._confirmed = self._clock()

    def doubted(self, resync: pb.Resync) -> None:
        """The intake could not verify what came."""
        self._newest = False
        self._guard.unexpected()
        log.warn("config.resync", revision=resync.revision, reason=resync.reason)

    async def expect(self, proposal: Proposal) -> None:
        """This table is about to be applied: returns when the guard has it on record."""
        digest = proposal.held.table.digest
        if self._serving.served is None or not self._guard.refuses(digest):
            await self._guard.expect(digest)

    def answer(self, proposal: Proposal) -> pb.NodeMessage:
        """Ack: it is served now. Nack: it is not, and why."""
        started, revision = self._clock(), proposal.held.revision
        try:
            warnings = self._take(proposal.held)
        except ConfigError as error:
            self._newest, self._config_error = False, f"revision {revision}: {error}"
            held = _known(self._serving.held)
            kept = held.revision if held else 0
            errors = [on_wire(fault) for fault in error.faults]
            self._guard.unexpected()
            return pb.NodeMessage(
                nack=pb.Nack(nonce=proposal.nonce, revision=revision, kept_revision=kept, errors=errors)
            )
        self._guard.unexpected()
        self._newest, self._config_error, self._confirmed = True, "", self._clock()
        return pb.NodeMessage(
            ack=pb.Ack(
                nonce=proposal.nonce,
                revision=revision,
                digest=proposal.held.table.digest,
                apply_ms=(self._clock() - started) * 1000,
                warnings=[on_wire(warning) for warning in warnings],
            )
        )

    def _take(self, held: Held) -> list[Fault]:
        """Serve this unless it is served already; returns warnings, and ConfigError where it is refused."""
        served = self._serving.held
        if served is not None and (served.epoch, served.revision) == (held.epoch, held.revision):
            if served.table.digest == held.table.digest:
                return []
        elif served is not None and served.epoch == held.epoch and held.revision < served.revision:
            # A replica that lags behind: what it brings was replaced already. Another epoch counts anew.
            reason = f"{held} is older than {served}, which this node serves"
            raise ConfigError([Fault("", reason, "older_revision")])
        warnings = self._serving.offer(held, "stream")
        self._intake.holds(held)
        self._keeper.applied()
        return warnings


def _known(held: Held | None) -> Held | None:
    """What a control plane can know of; None for a seed."""
    return held if held is not None and held.epoch else None
