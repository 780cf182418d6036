"""Composition root of the control plane: makes the parts, starts them in order, stops them in the other.

Everything that can refuse (state directory, configuration, ports) comes before anything that serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from grpc import aio
from grpc_health.v1.health import SERVICE_NAME as HEALTH  # type: ignore[import-untyped]  # no stubs exist
from grpc_health.v1.health import aio as health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server  # type: ignore[import-untyped]  # no stubs exist
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # no stubs exist

from controlplane.auth.grpc_gate import Gate
from controlplane.auth.parts import made
from controlplane.discovery import SERVICE as DISCOVERY
from controlplane.discovery import Discovery
from controlplane.events import Events
from controlplane.grpc_admin import Admin
from controlplane.listener import grpc_port, plaintext_warnings, rest_socket, rest_tls
from controlplane.nodes import Nodes
from controlplane.plane import Plane
from controlplane.publisher import Publisher
from controlplane.replicas import Job, joined
from controlplane.rest import application
from controlplane.rollout.records import Records
from controlplane.rollout.rollouts import TICK, Rollouts
from controlplane.server_log import server_logger
from controlplane.service import Service
from controlplane.settings import Settings
from controlplane.skew import warnings
from controlplane.source import DatabaseSource, FileSource, Source
from controlplane.state import locked
from controlplane.store.audit import Audit
from controlplane.store.file import FileStore
from controlplane.store.migrate import opened
from controlplane.store.pruning import Pruner
from controlplane.store.sql import SqlStore
from controlplane.telemetry import Reports, TelemetryServer
from controlplane.traffic import Traffic
from controlplane.trust.opening import Trust, open_trust
from shared import log
from shared.pb.admin_pb2_grpc import add_AdminServicer_to_server
from shared.pb.telemetry_pb2_grpc import add_TelemetryServicer_to_server

DRAIN_SECONDS = 3.0
"""How long nodes have to leave by themselves at the end; they reconnect elsewhere, or serve on without."""
STOP_SECONDS = 1.0
"""How long requests that are still running have after that."""
POLL, SQLITE_POLL = 5.0, 1.0
"""Seconds between looks at the database for what others committed. PostgreSQL tells; SQLite does not, and is near."""
SERVICES = (DISCOVERY, "flexgate.v1.Telemetry", "flexgate.v1.Enrolment", "flexgate.v1.Admin")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running one: its parts, and the ports that it was given."""

    plane: Plane
    rest_port: int
    grpc_port: int


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[ControlPlane]:
    """A control plane that serves within the block and is drained and stopped after it.

    ConfigError where the configuration is at fault, StartError where the state directory or a port is; then nothing
    was started.
    """
    async with AsyncExitStack() as stack:
        _warn(settings)
        state = stack.enter_context(locked(settings.state_dir))
        rest_listening = stack.enter_context(rest_socket(settings))
        tls = rest_tls(settings)
        gate = Gate()
        port = grpc_port(settings, gate)
        stack.callback(port.close)
        stack.push_async_callback(port.server.stop, None)

        database = await stack.enter_async_context(opened(settings.database_url))
        audit, events, traffic = Audit(database), Events(), Traffic()
        records = Records(database, audit)
        store = SqlStore(database, audit, witness=records.committing) if settings.config is None else FileStore(state)
        publisher = Publisher(store, poll=SQLITE_POLL if database.is_sqlite else POLL)
        service = Service(store, publisher, events=events, read_only=_read_only(settings))
        auth = gate.auth = made(settings.auth, database, audit, events)
        trust = await open_trust(settings, port, database, audit.append)
        gate.peer = trust.callers.peer
        nodes = Nodes()
        rollouts = Rollouts(records, service, publisher, nodes, events, tick=min(TICK, settings.heartbeat))
        pruner = Pruner(
            database,
            audit,
            settings.keep,
            holders=(records.held, nodes.held),
            others=(store.forget, auth.sessions.forget, records.prune, *trust.forgetting),
        )
        jobs: list[Job] = [pruner.run, publisher.run, *auth.jobs, *tls.jobs]
        source: Source = DatabaseSource(database.name)
        if settings.config is not None:
            source = await _followed(FileSource(settings.config, service, events, audit=audit), jobs)
        else:
            jobs.append(rollouts.attached())
        await publisher.refresh()
        await service.warm()
        await auth.start(settings.state_dir)  # last of what may refuse: a start that came to nothing makes no token

        reach, told = await stack.enter_async_context(joined(database, nodes, publisher, store, settings.heartbeat))
        jobs += told
        reports = Reports(traffic, events)
        plane = Plane(
            service,
            publisher,
            source,
            nodes,
            traffic,
            reports,
            events,
            database,
            audit,
            auth,
            rollouts,
            reach,
            pruner,
            trust.register,
            {name: files for name, files in (("rest", tls.files), ("grpc", trust.files)) if files is not None},
        )
        service.advise = lambda changes: warnings(changes, plane.nodes.lacking())
        discovery = Discovery(publisher, plane.nodes, events, admission=trust.admission, interval=settings.heartbeat)
        checks = _add_services(port.server, plane, discovery, trust)
        rest = web.AppRunner(application(plane), access_log=None, logger=server_logger(), shutdown_timeout=STOP_SECONDS)
        stack.push_async_callback(rest.cleanup)
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(job()) for job in (*jobs, discovery.run)]
            await port.server.start()
            await stack.enter_async_context(trust.serving(port, plane.nodes))
            await rest.setup()
            await web.SockSite(rest, rest_listening, ssl_context=tls.context).start()
            yield ControlPlane(plane, rest_listening.getsockname()[1], port.port)
            await checks.enter_graceful_shutdown()
            rollouts.stop()  # first: that nodes leave now says nothing of what they run
            await _drained(discovery, port.server, background)


def _warn(settings: Settings) -> None:
    """Tell what an operator should know about these settings."""
    for reason in plaintext_warnings(settings):
        log.warn("listener.plaintext", reason=reason)


async def _drained(discovery: Discovery, server: aio.Server, background: list[asyncio.Task[None]]) -> None:
    """Send the nodes elsewhere, then end all that runs."""
    await discovery.drain(DRAIN_SECONDS)
    await server.stop(STOP_SECONDS)
    for task in background:
        task.cancel()


async def _followed(source: FileSource, jobs: list[Job]) -> FileSource:
    """A file that is read now, and from then on whenever it changes; ConfigError where it is bad now."""
    await source.load()
    jobs.append(source.run)
    return source


def _read_only(settings: Settings) -> str:
    """Why this control plane takes no configuration from its API; empty: it does."""
    return f"configuration comes from the file {settings.config}; edit it" if settings.config is not None else ""


def _add_services(server: aio.Server, plane: Plane, discovery: Discovery, trust: Trust) -> health.HealthServicer:
    """What the gRPC port serves; the health service, to be told when that ends."""
    checks = health.HealthServicer()
    server.add_generic_rpc_handlers((discovery.handler(),))
    add_TelemetryServicer_to_server(TelemetryServer(plane.reports, trust.admission), server)
    trust.add_to(server)
    add_AdminServicer_to_server(Admin(plane), server)
    add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((*SERVICES, HEALTH, reflection.SERVICE_NAME), server)
    return checks
