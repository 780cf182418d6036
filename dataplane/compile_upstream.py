"""One upstream message -> its compiled form: endpoints with everything said once, turns, pools found in `Live`."""

from __future__ import annotations

import ssl

from dataplane.compile_balancing import compile_balancing
from dataplane.compile_resilience import breaker_policy, budget_policy, retry_policy
from dataplane.compile_settings import networks
from dataplane.live import Live
from dataplane.overload.gate import Places
from dataplane.runtime import Endpoint, Guard, HealthCheck, Upstream
from dataplane.upstream.balancer import Sources
from dataplane.upstream.located import located
from dataplane.upstream.policies import balancer
from dataplane.upstream.spreading import Listed, spread
from shared import defaults
from shared.faults import ConfigError, Fault
from shared.pb import resources_pb2 as pb


def compile_upstream(message: pb.Upstream, settings: pb.Settings, live: Live) -> Upstream:
    """The upstream, ready to pick from; raises ConfigError where its TLS files cannot be used."""
    listed = list(message.endpoints) or [pb.Endpoint(url=message.url)]
    tls = _tls(message) if any(endpoint.url.startswith("https:") for endpoint in listed) else None
    guard = guard_of(settings)
    endpoints = tuple(_listed(message, _endpoint(item, message, tls), guard, live) for item in listed)
    timeout, overall = message.timeout, settings.proxy.timeout
    breaking, budget = breaker_policy(message, settings), budget_policy(message, settings)
    own_pool, shared_pool = message.connection_pool, settings.connection_pool

    def ms(name: str, default: int) -> float:
        source = timeout if timeout.HasField(name) else overall  # type: ignore[arg-type]  # the stub wants a literal
        return float(getattr(source, name) if source.HasField(name) else default) / 1000  # type: ignore[arg-type]  # the same

    def pooled(name: str, default: int) -> int:
        source = own_pool if own_pool.HasField(name) else shared_pool  # type: ignore[arg-type]  # the same
        return int(getattr(source, name) if source.HasField(name) else default)  # type: ignore[arg-type]  # the same

    sources = Sources(live.clock, live.draw, live.turns(message.name), live.events)
    return Upstream(
        name=message.name,
        balancer=balancer(message.name, spread(endpoints, guard, live), compile_balancing(message), sources),
        traffic=live.traffic.upstream(message.name),
        guard=guard,
        connect=ms("connect", defaults.CONNECT_TIMEOUT),
        dns=ms("dns", defaults.DNS_TIMEOUT),
        response=ms("response", defaults.RESPONSE_TIMEOUT),
        idle=ms("idle", defaults.IDLE_TIMEOUT),
        request=timeout.request / 1000 if timeout.HasField("request") else None,
        max_sockets=pooled("max_sockets", defaults.MAX_SOCKETS),
        max_free_sockets=pooled("max_free_sockets", defaults.MAX_FREE_SOCKETS),
        keep_idle=pooled("timeout", defaults.POOL_IDLE_TIMEOUT) / 1000,
        keep_alive=bool(pooled("keep_alive", defaults.KEEP_ALIVE)),
        listed=endpoints,
        names=tuple(dict.fromkeys(one.name for one in endpoints if one.name is not None)),
        refresh=message.dns.refresh / 1000 if message.dns.HasField("refresh") else None,
        bulkhead=live.bulkhead(message.name) if message.limits.max_connections else None,
        places=_places(message.limits),
        breaker=live.breaker(message.name, breaking) if breaking is not None else None,
        breaker_policy=breaking,
        retry=retry_policy(message, settings, live.draw),
        retry_budget=live.retry_budget(message.name, budget),
        budget_policy=budget,
        fallback=message.fallback,
        check=_check(message),
    )


def _check(message: pb.Upstream) -> HealthCheck | None:
    """A section that is there is on, unless it says otherwise."""
    check = message.health_check
    if not message.HasField("health_check") or (check.HasField("enabled") and not check.enabled):
        return None
    interval = check.interval if check.HasField("interval") else defaults.HEALTH_CHECK_INTERVAL
    timeout = check.timeout if check.HasField("timeout") else min(interval, defaults.HEALTH_CHECK_TIMEOUT)
    return HealthCheck(
        path=check.path or defaults.HEALTH_CHECK_PATH,
        interval=interval / 1000,
        timeout=timeout / 1000,
        healthy_threshold=check.healthy_threshold or defaults.HEALTHY_THRESHOLD,
        unhealthy_threshold=check.unhealthy_threshold or defaults.UNHEALTHY_THRESHOLD,
        expected=frozenset(check.expected_status),
    )


def _places(limits: pb.Limits) -> Places | None:
    """The places of the bulkhead; None: the upstream has none."""
    if not limits.max_connections:
        return None
    return Places(
        limit=limits.max_connections,
        most_waiting=limits.max_queue_size if limits.HasField("max_queue_size") else defaults.MAX_QUEUE_SIZE,
        timeout=(limits.queue_timeout or defaults.QUEUE_TIMEOUT) / 1000,
    )


def guard_of(settings: pb.Settings) -> Guard:
    """Where the gateway may connect to."""
    security = settings.security
    blocked = security.blocked_ips or defaults.BLOCKED_IPS
    return Guard(networks(blocked), tuple(host.lower() for host in security.allowed_hosts))


def _listed(message: pb.Upstream, endpoint: Endpoint, guard: Guard, live: Live) -> Listed:
    name = None if endpoint.ips else live.name(message.name, endpoint.host)
    tls = message.tls.SerializeToString(deterministic=True) if endpoint.scheme == "https" else b""
    return Listed(message.name, endpoint, name, (tls, guard))


def _endpoint(item: pb.Endpoint, message: pb.Upstream, tls: ssl.SSLContext | None) -> Endpoint:
    weight = item.weight if item.HasField("weight") else defaults.ENDPOINT_WEIGHT
    return located(item.url, tls=tls, server_name=message.tls.server_name, weight=weight)


def _tls(message: pb.Upstream) -> ssl.SSLContext:
    tls = message.tls
    field, files = "ca", tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            field, files = "cert", f"{tls.cert} with its key {tls.key}" if tls.key else tls.cert
            context.load_cert_chain(tls.cert, tls.key or None, password="")  # else a locked key asks at a terminal
    except OSError as error:  # ssl.SSLError is one; neither names the file
        fault = Fault(f"tls.{field}", f"{files} cannot be used: {error}", kind="upstream", name=message.name)
        raise ConfigError([fault]) from error
    if tls.HasField("verify") and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
