"""Every default of the configuration, in one place: durations in ms, sizes in bytes, shares in percent or 0 to 1.

Read by the checks and by whoever compiles a configuration. A field that is absent here has no default: it is off, empty
or required. docs/reference/configuration.md shows these values, and a test compares.
"""

from __future__ import annotations

from typing import Final

_KB: Final = 1 << 10
_MB: Final = 1 << 20

# proxy
HOST: Final = "0.0.0.0"
PORT: Final = 3000
ADMIN_PORT: Final = 3001
WORKERS: Final = 1
MAX_BODY_SIZE: Final = 10 * _MB
MAX_HEADER_SIZE: Final = 8 * _KB
MAX_HEADERS_SIZE: Final = 32 * _KB
MAX_CONNECTIONS: Final = 10_000
LONGEST_METHOD: Final = 32
"""Characters, not configurable; the longest method that is registered has 17."""
DRAIN_TIMEOUT: Final = 30_000
SYSTEM_ENDPOINTS: Final = True
TLS_MIN_VERSION: Final = "1.2"

# proxy.timeout
REQUEST_TIMEOUT: Final = 30_000
CONNECT_TIMEOUT: Final = 5_000
DNS_TIMEOUT: Final = 2_000
HEADER_TIMEOUT: Final = 10_000
RESPONSE_TIMEOUT: Final = 25_000
IDLE_TIMEOUT: Final = 60_000

# security
BLOCKED_IPS: Final = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
"""Link-local ranges and the metadata services of the clouds (169.254.169.254 and 169.254.170.2 lie in the first)."""
AUTH_HEADER: Final = "X-API-Key"
HIDE_CREDENTIALS: Final = False
CLOCK_SKEW_SECONDS: Final = 300
TOKEN_CLOCK_SKEW_SECONDS: Final = 60
"""The same for tokens, whose issuers name their times themselves."""

# rateLimit
RATE_LIMIT_ENABLED: Final = True
RATE_LIMIT_BACKEND: Final = "local"
RATE_LIMIT_MODE: Final = "exact"
RATE_LIMIT_KEY: Final = "ip"
RATE_LIMIT_ALGORITHM: Final = "token-bucket"
RATE_LIMIT_MESSAGE: Final = "Rate limit exceeded"
RATE_LIMIT_ON_STORE_ERROR: Final = "local"
RATE_LIMIT_SHADOW: Final = False
REDIS_KEY_PREFIX: Final = "flexgate:"
REDIS_TIMEOUT: Final = 100

# circuitBreaker
BREAKER_ENABLED: Final = True
BREAKER_FAILURE_THRESHOLD: Final = 5
BREAKER_VOLUME_THRESHOLD: Final = 10
BREAKER_WINDOW: Final = 10_000
BREAKER_OPEN_DURATION: Final = 30_000
BREAKER_HALF_OPEN_REQUESTS: Final = 3
BREAKER_SUCCESS_THRESHOLD: Final = 2

# retry
RETRY_MAX_ATTEMPTS: Final = 3
RETRY_INITIAL_DELAY: Final = 100
RETRY_MULTIPLIER: Final = 2.0
RETRY_MAX_DELAY: Final = 5_000
RETRY_JITTER: Final = True
RETRY_STATUS_CODES: Final = (502, 503, 504)
RETRY_METHODS: Final = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
RETRY_BUDGET_PERCENT: Final = 20.0
RETRY_BUDGET_MIN_PER_SECOND: Final = 10

# backpressure; the queue's also of upstreams[].limits
MAX_CONCURRENT: Final = 1_000
MAX_QUEUE_SIZE: Final = 1_000
QUEUE_TIMEOUT: Final = 5_000

# connectionPool
MAX_SOCKETS: Final = 100
MAX_FREE_SOCKETS: Final = 10
POOL_IDLE_TIMEOUT: Final = 60_000
KEEP_ALIVE: Final = True

# upstreams
ENDPOINT_WEIGHT: Final = 1
LOAD_BALANCER: Final = "round-robin"
PANIC_THRESHOLD_PERCENT: Final = 0.0
PASSIVE_HEALTH_ENABLED: Final = True
PASSIVE_HEALTH_CONSECUTIVE_FAILURES: Final = 3
"""Fewer than the breaker's failures, so that one bad endpoint is out before it opens the breaker of all."""
PASSIVE_HEALTH_EJECTION_TIME: Final = 10_000
PASSIVE_HEALTH_MAX_EJECTED_PERCENT: Final = 50.0
TLS_VERIFY: Final = True

# upstreams[].healthCheck
HEALTH_CHECK_PATH: Final = "/"
HEALTH_CHECK_INTERVAL: Final = 10_000
HEALTH_CHECK_TIMEOUT: Final = 2_000
HEALTHY_THRESHOLD: Final = 2
UNHEALTHY_THRESHOLD: Final = 3

# routes
ROUTE_ENABLED: Final = True
AUTH_MODE: Final = "none"

# logging, metrics
LOG_LEVEL: Final = "info"
LOG_FORMAT: Final = "json"
SUCCESS_RATE: Final = 0.1
ERROR_RATE: Final = 1.0
METRICS_ENABLED: Final = True
