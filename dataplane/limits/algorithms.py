"""The algorithms by the names that the configuration has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dataplane.limits.counts import Counts
from dataplane.limits.rule import Rule
from dataplane.limits.token_bucket import TokenBuckets
from dataplane.limits.windows import FixedWindows, SlidingWindows

ALGORITHMS: Final[Mapping[str, Callable[[Rule, float], Counts]]] = {
    "token-bucket": TokenBuckets,
    "sliding-window": SlidingWindows,
    "fixed-window": FixedWindows,
}
