"""Whether and when an attempt is repeated: the policy, and the pure decisions that `forward` asks for.

Two questions are apart. Is it safe: nothing of the request was processed, or processing it twice does no harm. Is it
worth it: attempts, budget and time are left, and the upstream did not ask for longer. Read timeouts and 429 are never
repeated: the one may still be working on the request, the other asks for less.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dataplane.errors import ConnectionLost, GatewayError
from dataplane.http1.fields import value_of

if TYPE_CHECKING:
    from dataplane.exchange import Exchange

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
KEYED: Final = frozenset({"POST", "PATCH"})
"""Methods that may be repeated under an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header)."""
IDEMPOTENCY_KEY: Final = b"idempotency-key"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How attempts are repeated. Seconds. `methods` and `statuses` are empty where nobody asked for retries."""

    attempts: int = 3  # in all
    methods: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    first: float = 0.1
    multiplier: float = 2.0
    longest: float = 5.0
    jitter: bool = True
    draw: Callable[[], float] = random.random  # 0 to 1


NO_RETRIES: Final = RetryPolicy(attempts=1)


def may_process_twice(x: Exchange, policy: RetryPolicy) -> bool:
    """Whether the policy lets a request go out again that an endpoint may have processed."""
    method = x.method
    if method not in policy.methods:
        return False
    return method in IDEMPOTENT or bool(value_of(x.headers, IDEMPOTENCY_KEY))


def safe_after(error: GatewayError, x: Exchange, policy: RetryPolicy) -> bool:
    """Whether the request may go out again after an attempt without an answer; its body is another matter."""
    if error.retryable:
        return True  # nothing was sent
    return isinstance(error, ConnectionLost) and may_process_twice(x, policy)


def backoff(policy: RetryPolicy, retry: int) -> float:
    """Seconds to wait before a retry, the first of which is 1: exponential, with full jitter.

    Full jitter, because retries that come together fail together (Brooker, "Exponential Backoff And Jitter").
    """
    ceiling = min(policy.longest, policy.first * policy.multiplier ** (retry - 1))
    return ceiling * policy.draw() if policy.jitter else ceiling


def asks_for_longer(retry_after: bytes | None, seconds: float) -> bool:
    """Whether an answer's Retry-After lies behind that many seconds; a date counts as far away."""
    if retry_after is None:
        return False
    return not retry_after.isdigit() or int(retry_after[:9]) > seconds
