"""Settings messages -> the small frozen values the request path reads. Pure; ms become seconds, absence a default."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from ipaddress import ip_network

from dataplane.filters.backpressure import wanted
from dataplane.overload.gate import Places
from dataplane.overload.priorities import weights
from dataplane.overload.shedding import OverloadPolicy
from dataplane.overload.stages import Stage
from dataplane.runtime import ConnectionLimits, LogPolicy, Networks
from shared import defaults
from shared.faults import ConfigError, Fault
from shared.pb import resources_pb2 as pb

_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def connection_limits(proxy: pb.Proxy) -> ConnectionLimits:
    """What a client connection may cost."""
    timeout = proxy.timeout
    line = proxy.max_header_size if proxy.HasField("max_header_size") else defaults.MAX_HEADER_SIZE
    total = proxy.max_headers_size if proxy.HasField("max_headers_size") else defaults.MAX_HEADERS_SIZE
    return ConnectionLimits(
        idle=_seconds(timeout.idle if timeout.HasField("idle") else defaults.IDLE_TIMEOUT),
        header=_seconds(timeout.header if timeout.HasField("header") else defaults.HEADER_TIMEOUT),
        request=request_seconds(proxy) or float("inf"),
        header_line=line,
        headers_total=total,
        smallest=min(line, total),
        max_connections=proxy.max_connections if proxy.HasField("max_connections") else defaults.MAX_CONNECTIONS,
        max_connections_per_ip=proxy.max_connections_per_ip,
        announced_by=networks(proxy.trusted_proxies) if proxy.proxy_protocol else None,
    )


def request_seconds(proxy: pb.Proxy) -> float:
    """The whole exchange's time where neither route nor upstream say; 0 is no limit."""
    timeout = proxy.timeout
    return (timeout.request if timeout.HasField("request") else defaults.REQUEST_TIMEOUT) / 1000


def _seconds(ms: int) -> float:
    return ms / 1000 if ms else float("inf")


def log_policy(settings: pb.Settings) -> LogPolicy:
    """What the request log writes. The query parameter that carries API keys is always redacted."""
    logging, sampling = settings.logging, settings.logging.sampling
    redact = {name.lower() for name in logging.redact}
    if settings.security.auth.query:
        redact.add(settings.security.auth.query.lower())
    return LogPolicy(
        level=logging.level or defaults.LOG_LEVEL,
        json=(logging.format or defaults.LOG_FORMAT) == "json",
        success_rate=sampling.success_rate if sampling.HasField("success_rate") else defaults.SUCCESS_RATE,
        error_rate=sampling.error_rate if sampling.HasField("error_rate") else defaults.ERROR_RATE,
        slow_ms=float(sampling.slow_ms),
        redact=frozenset(redact),
    )


def overload_policy(settings: pb.Settings) -> OverloadPolicy:
    """What bounds the requests in flight, and who goes first."""
    section, places = settings.backpressure, None
    if wanted(section, given=settings.HasField("backpressure")):
        places = Places(
            limit=section.max_concurrent or defaults.MAX_CONCURRENT,
            most_waiting=section.max_queue_size if section.HasField("max_queue_size") else defaults.MAX_QUEUE_SIZE,
            timeout=(section.queue_timeout or defaults.QUEUE_TIMEOUT) / 1000,
        )
    stages = tuple(Stage(one.queue_size, one.action) for one in section.thresholds) if places is not None else ()
    return OverloadPolicy(places, section.adaptive, stages, weights(settings))


def networks(texts: Iterable[str]) -> Networks:
    """Addresses and ranges as networks."""
    return tuple(ip_network(text, strict=False) for text in texts)


def listener_tls(tls: pb.ListenerTls) -> ssl.SSLContext:
    """The TLS of the traffic port; with a client CA, clients must show a certificate. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS[tls.min_version or defaults.TLS_MIN_VERSION]
    context.set_alpn_protocols(["http/1.1"])
    files = f"{tls.cert} with its key {tls.key}" if tls.key else tls.cert
    try:
        # With a password, empty as it is, OpenSSL does not ask for that of the key at a terminal, for ever.
        context.load_cert_chain(tls.cert, tls.key or None, password="")
        if tls.client_ca:
            files = tls.client_ca
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one; neither names the file
        fault = Fault("proxy.tls", f"{files} cannot be used: {error.strerror or error}", kind="settings")
        raise ConfigError([fault]) from error
    return context
