"""What an upstream does about failures, compiled: its breaker's policy, its retries and their budget.

Each field is the upstream's own, else the shared one's, else the default. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dataplane.runtime import Upstream
from dataplane.upstream.breaker import BreakerPolicy
from dataplane.upstream.retry_budget import BudgetPolicy
from dataplane.upstream.retrying import KEYED, NO_RETRIES, RetryPolicy
from shared import defaults
from shared.faults import Fault
from shared.pb import resources_pb2 as pb


def breaker_policy(message: pb.Upstream, settings: pb.Settings) -> BreakerPolicy | None:
    """None where the breaker is switched off."""
    own, shared = message.circuit_breaker, settings.circuit_breaker
    if not _first("enabled", defaults.BREAKER_ENABLED, own, shared):
        return None
    by_count, by_share = _threshold(own, shared)
    return BreakerPolicy(
        failures=by_count,
        share=by_share,
        volume=_first("volume_threshold", defaults.BREAKER_VOLUME_THRESHOLD, own, shared),
        window=_first("window_ms", defaults.BREAKER_WINDOW, own, shared) / 1000,
        open_seconds=_first("open_duration", defaults.BREAKER_OPEN_DURATION, own, shared) / 1000,
        probes=_first("half_open_requests", defaults.BREAKER_HALF_OPEN_REQUESTS, own, shared),
        successes=_first("success_threshold", defaults.BREAKER_SUCCESS_THRESHOLD, own, shared),
        slow_ms=float(_first("slow_call_ms", 0, own, shared)),
    )


def _threshold(own: pb.CircuitBreaker, shared: pb.CircuitBreaker) -> tuple[int, float]:
    """(failures, share): they exclude each other, so the first message that has either decides on both."""
    for message in (own, shared):
        if message.HasField("failure_percent"):
            return 0, message.failure_percent
        if message.HasField("failure_threshold"):
            return message.failure_threshold, 0.0
    return defaults.BREAKER_FAILURE_THRESHOLD, 0.0


def retry_policy(message: pb.Upstream, settings: pb.Settings, draw: Callable[[], float]) -> RetryPolicy:
    """Without a word about retries, only what never reached the service is repeated.

    `draw` gives random numbers from 0 to 1.
    """
    own, shared = message.retry, settings.retry
    if not _first("enabled", True, own, shared) or (message.HasField("retries") and not message.retries):
        return NO_RETRIES
    attempts = _first("max_attempts", defaults.RETRY_MAX_ATTEMPTS, own, shared)
    if message.HasField("retries"):
        attempts = message.retries + 1
    asked = message.HasField("retry") or settings.HasField("retry") or message.HasField("retries")
    listed = own.methods or shared.methods
    methods = frozenset(listed) or frozenset(defaults.RETRY_METHODS) | KEYED
    statuses = own.retryable_status_codes or shared.retryable_status_codes or defaults.RETRY_STATUS_CODES
    waits, shared_waits = own.backoff, shared.backoff
    return RetryPolicy(
        attempts=attempts,
        methods=methods if asked else frozenset(),
        statuses=frozenset(statuses) - {429} if asked else frozenset(),
        first=_first("initial_delay", defaults.RETRY_INITIAL_DELAY, waits, shared_waits) / 1000,
        multiplier=_first("multiplier", defaults.RETRY_MULTIPLIER, waits, shared_waits),
        longest=_first("max_delay", defaults.RETRY_MAX_DELAY, waits, shared_waits) / 1000,
        jitter=_first("jitter", defaults.RETRY_JITTER, waits, shared_waits),
        draw=draw,
    )


def budget_policy(message: pb.Upstream, settings: pb.Settings) -> BudgetPolicy:
    """How many retries all requests to the upstream may have together."""
    own, shared = message.retry.budget, settings.retry.budget
    return BudgetPolicy(
        percent=float(_first("percent", defaults.RETRY_BUDGET_PERCENT, own, shared)),
        per_second=float(_first("min_per_second", defaults.RETRY_BUDGET_MIN_PER_SECOND, own, shared)),
    )


def fallback_faults(upstreams: Mapping[str, Upstream]) -> list[Fault]:
    """Fallbacks that are not there, or lead back to where they began: a request would go round for ever."""
    faults: list[Fault] = []
    for name, upstream in upstreams.items():
        if not upstream.fallback:
            continue
        chain = [name]
        while (following := upstreams[chain[-1]].fallback) and following in upstreams and following not in chain:
            chain.append(following)
        if following in chain:
            faults.append(Fault("fallback", f"goes in a circle: {' -> '.join(chain)}", "cycle", "upstream", name))
        elif following and len(chain) == 1:
            faults.append(Fault("fallback", f"there is no upstream {following!r}", "missing", "upstream", name))
    return faults


def _first(field: str, default: Any, *messages: Any) -> Any:
    """The field of the first message that has it."""
    return next((getattr(message, field) for message in messages if message.HasField(field)), default)
