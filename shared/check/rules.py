"""The rule of every field that has one, by "Message.field": the table is the documentation of what a value may be.

A field of a list has the rule for each element. `KEY_RULES` are for the keys of maps. Fields that take any text or
number at all, or that `check/` looks at together with others, are named in FREE; a test finds fields in neither.
"""

from __future__ import annotations

from shared.check import values
from shared.check.values import Rule, at_least, between, one_of

MAX_INT = 2**32 - 1
_PORT = between(0, 65_535)
_SOME_TIME = between(1, MAX_INT, " ms")
_ANY_TIME = between(0, MAX_INT, " ms")
_SHARE = between(0, 1)
_PERCENT = between(0, 100)
_POSITIVE = between(1, MAX_INT)
_HEADER_SIZE = between(256, 1 << 20, " bytes")
_STATUS = between(100, 599)
_WEIGHT = between(0, 1_000)
_LIMIT_KEY = one_of("ip", "apiKey", "consumer", "route", forms={"header": "NAME", "claim": "NAME"})
_ALGORITHM = one_of("token-bucket", "sliding-window", "fixed-window")
_AUTH_TYPE = one_of("apiKey", "hmac", "jwt", "introspection", "basic", "mtls")
_SIGNATURES = one_of(*(f"{kind}{bits}" for kind in ("RS", "ES", "PS", "HS") for bits in (256, 384, 512)), "EdDSA")

RULES: dict[str, Rule] = {
    **{
        f"{message}.name": values.name
        for message in ("Route", "Upstream", "Consumer", "Credential", "Priority", "ApiKey", "NodeGroup")
    },
    # routes
    "Route.hosts": values.host_pattern,
    "Route.methods": values.method,
    "Route.maxBodySize": at_least(0, " bytes"),
    "Route.deprecated": values.field_value,
    "Split.weight": _WEIGHT,
    "HeaderRules.set": values.field_value,
    "HeaderRules.add": values.field_value,
    "HeaderRules.remove": values.editable_header,
    "Cors.methods": values.method,
    "Cors.headers": values.token,
    "Cors.exposedHeaders": values.token,
    "Cache.methods": one_of("GET", "HEAD"),
    "Cache.statusCodes": _STATUS,
    "Cache.vary": values.token,
    "Cache.maxSize": at_least(0, " bytes"),
    "Mirror.percent": _PERCENT,
    "Fault.abortStatus": between(200, 599),
    "Fault.percent": _PERCENT,
    # upstreams
    "Upstream.url": values.endpoint_url,
    "Upstream.retries": between(0, 10),
    "Endpoint.url": values.endpoint_url,
    "Endpoint.weight": _WEIGHT,
    "CircuitBreaker.failureThreshold": _POSITIVE,
    "CircuitBreaker.failurePercent": between(1, 100),
    "CircuitBreaker.volumeThreshold": _POSITIVE,
    "CircuitBreaker.windowMs": _SOME_TIME,
    "CircuitBreaker.openDuration": _SOME_TIME,
    "CircuitBreaker.halfOpenRequests": _POSITIVE,
    "CircuitBreaker.successThreshold": _POSITIVE,
    "CircuitBreaker.slowCallMs": _SOME_TIME,
    "HealthCheck.interval": between(100, 86_400_000, " ms"),
    "HealthCheck.timeout": between(10, 86_400_000, " ms"),
    "HealthCheck.healthyThreshold": between(1, 100),
    "HealthCheck.unhealthyThreshold": between(1, 100),
    "HealthCheck.expectedStatus": between(200, 599),
    "PassiveHealth.consecutiveFailures": _POSITIVE,
    "PassiveHealth.ejectionTime": _SOME_TIME,
    "PassiveHealth.maxEjectedPercent": _PERCENT,
    "LoadBalancer.policy": one_of("round-robin", "least-request", "ewma", "random", "consistent-hash"),
    "LoadBalancer.panicThreshold": _PERCENT,
    "LoadBalancer.on": one_of("ip", "consumer", forms={"header": "NAME", "cookie": "NAME"}),
    "Limits.maxConnections": _POSITIVE,
    "Limits.queueTimeout": _SOME_TIME,
    "UpstreamTls.serverName": values.host,
    "Dns.refresh": between(100, 86_400_000, " ms"),
    "ConnectionPool.maxSockets": _POSITIVE,
    "ConnectionPool.timeout": _SOME_TIME,
    "Retry.maxAttempts": between(1, 11),
    "Retry.retryableStatusCodes": between(400, 599),
    "Retry.methods": values.method,
    "Backoff.multiplier": between(1, 100),
    "RetryBudget.percent": _PERCENT,
    # who may call
    "Credential.type": one_of("apiKey", "hmac", "basic", "mtls"),
    "Credential.expiresAt": values.timestamp,
    "Auth.mode": one_of("required", "optional", "none"),
    "Auth.type": _AUTH_TYPE,
    "Auth.header": values.token,
    "Auth.jwksUrl": values.web_url,
    "Auth.introspectionUrl": values.web_url,
    "Auth.algorithms": _SIGNATURES,
    "Auth.forwardClaims": values.editable_header,
    "Auth.clockSkew": between(0, 86_400, " seconds"),
    "Auth.realm": values.field_value,
    "ApiKey.key": values.sha256_hex,
    "ApiKey.expiresAt": values.timestamp,
    # rate limits
    **{
        f"{message}.{field}": rule
        for message in ("RateLimit", "RouteRateLimit", "RateLimits")
        for field, rule in {"burst": _POSITIVE, "key": _LIMIT_KEY, "algorithm": _ALGORITHM}.items()
    },
    "RateLimits.backend": one_of("local", "redis"),
    "RateLimits.mode": one_of("exact", "leased"),
    "RateLimits.onStoreError": one_of("local", "open", "closed"),
    "Redis.url": values.redis_url,
    "Redis.timeout": _SOME_TIME,
    # the proxy and the rest of the settings
    "Proxy.host": values.listen_host,
    "Proxy.port": _PORT,
    "Proxy.adminPort": _PORT,
    "Proxy.workers": between(0, 1_024),
    "Proxy.maxBodySize": at_least(0, " bytes"),
    "Proxy.maxResponseSize": at_least(1, " byte"),
    "Proxy.maxHeaderSize": _HEADER_SIZE,
    "Proxy.maxHeadersSize": _HEADER_SIZE,
    "Proxy.maxConnections": _POSITIVE,
    "Proxy.maxConnectionsPerIp": _POSITIVE,
    "Proxy.trustedProxies": values.network,
    "Proxy.drainTimeout": _ANY_TIME,
    "Timeouts.request": _ANY_TIME,  # 0: no limit
    **{f"Timeouts.{phase}": _SOME_TIME for phase in ("connect", "dns", "header", "response", "idle")},
    "ListenerTls.minVersion": one_of("1.2", "1.3"),
    "Security.allowedHosts": values.reachable_host,
    "Security.blockedIPs": values.network,
    "IpFilter.allow": values.network,
    "IpFilter.deny": values.network,
    "Backpressure.maxConcurrent": _POSITIVE,
    "Backpressure.queueTimeout": _SOME_TIME,
    "Threshold.queueSize": _POSITIVE,
    "Threshold.action": one_of("disable_logging", "sample_metrics", "reject_low_priority", "reject_all"),
    "Priority.weight": _WEIGHT,
    "Logging.level": one_of("debug", "info", "warn", "error"),
    "Logging.format": one_of("json", "text"),
    "Sampling.successRate": _SHARE,
    "Sampling.errorRate": _SHARE,
    "Tracing.sampleRatio": _SHARE,
    "Otlp.endpoint": values.web_url,
}

KEY_RULES: dict[str, Rule] = {
    "Route.headers": values.token,
    "HeaderRules.set": values.editable_header,
    "HeaderRules.add": values.editable_header,
}

FREE = frozenset(
    """
    Config.version Route.id Upstream.id Consumer.id Credential.id Route.priority Route.enabled Route.stripPath
    Route.scopes Route.metadata Route.bodySchema StringMatch.exact StringMatch.prefix StringMatch.suffix
    StringMatch.present Cors.origins Cors.credentials Cors.maxAge Cache.enabled Cache.ttl Fault.delay
    CircuitBreaker.enabled HealthCheck.enabled PassiveHealth.enabled LoadBalancer.slowStart Limits.maxQueueSize
    UpstreamTls.verify UpstreamTls.ca Upstream.http2 Upstream.metadata ConnectionPool.maxFreeSockets
    ConnectionPool.keepAlive Retry.enabled Backoff.initialDelay Backoff.maxDelay Backoff.jitter
    RetryBudget.minPerSecond Consumer.groups Consumer.metadata Credential.secret Credential.scopes Credential.enabled
    Auth.query Auth.hideCredentials Auth.issuer Auth.audience Auth.jwks Auth.requiredClaims Auth.clientId
    Auth.clientSecret ApiKey.scopes RateLimit.message RateLimit.shadow RateLimit.enabled RouteRateLimit.message
    RouteRateLimit.shadow RateLimits.enabled RateLimits.shadow Redis.keyPrefix Proxy.systemEndpoints
    Proxy.proxyProtocol Backpressure.enabled Backpressure.maxQueueSize Backpressure.adaptive
    Logging.redact Sampling.slowMs Metrics.enabled Tracing.enabled ListenerTls.clientCa
    """.split()  # noqa: SIM905  # a list of 70 quoted strings would be one per line
)
"""Fields that take any value of their type."""

TOGETHER = frozenset(
    """
    Route.path Route.upstream Split.upstream Mirror.upstream Upstream.fallback Rewrite.path Rewrite.host
    HealthCheck.path UpstreamTls.cert UpstreamTls.key Credential.consumer Credential.key Consumer.priority
    RateLimit.max RateLimit.windowMs RouteRateLimit.path RouteRateLimit.max RouteRateLimit.windowMs
    ListenerTls.cert ListenerTls.key Priority.routes NodeGroup.labels Route.nodeGroups Upstream.nodeGroups
    Consumer.nodeGroups
    """.split()  # noqa: SIM905  # as above
)
"""Fields checked together with others, in the file of their resource."""
