"""Ahead-of-time compilation of the request path, when FLEXGATE_COMPILE=1 (docs/decisions/0007).

The modules below are ordinary Python, typed strictly, and run interpreted wherever there is no compiler; mypyc makes a
C extension of the very same source, which about halves the CPU of a request. They hold no coroutines: what waits
(gateway, forward, streaming, connecting, upgrade) stays interpreted, as does what is declared rather than executed.
"""

from __future__ import annotations

import os

from setuptools import Extension, setup

REQUEST_PATH = [
    "dataplane/access_log.py",
    "dataplane/admission.py",
    "dataplane/attempt.py",
    "dataplane/driver.py",
    "dataplane/exchange.py",
    "dataplane/finish.py",
    "dataplane/filters/api_key.py",
    "dataplane/filters/backpressure.py",
    "dataplane/filters/limit_rules.py",
    "dataplane/filters/leased_limits.py",
    "dataplane/filters/local_limits.py",
    "dataplane/filters/shared_limits.py",
    "dataplane/headers.py",
    "dataplane/http1/body.py",
    "dataplane/http1/chunks.py",
    "dataplane/http1/date.py",
    "dataplane/http1/deadlines.py",
    "dataplane/http1/downstream.py",
    "dataplane/http1/fields.py",
    "dataplane/http1/outbox.py",
    "dataplane/http1/request_head.py",
    "dataplane/http1/request_limits.py",
    "dataplane/http1/request_reader.py",
    "dataplane/http1/response_head.py",
    "dataplane/http1/upstream.py",
    "dataplane/metrics.py",
    "dataplane/overload/adaptive.py",
    "dataplane/overload/gate.py",
    "dataplane/overload/priorities.py",
    "dataplane/overload/shedding.py",
    "dataplane/overload/stages.py",
    "dataplane/paths.py",
    "dataplane/tokens/bearer.py",
    "dataplane/upstream/balancer.py",
    "dataplane/upstream/bulkhead.py",
    "dataplane/upstream/endpoint_health.py",
    "dataplane/upstream/breaker.py",
    "dataplane/upstream/latency.py",
    "dataplane/upstream/policies/consistent_hash.py",
    "dataplane/upstream/policies/random_choice.py",
    "dataplane/upstream/pool.py",
    "dataplane/upstream/retry_budget.py",
    "dataplane/upstream/retrying.py",
    "dataplane/upstream/rolling.py",
    "dataplane/upstream/turns.py",
    "dataplane/respond.py",
    "dataplane/routing/condition.py",
    "dataplane/routing/leaf.py",
    "dataplane/routing/pattern.py",
    "dataplane/routing/rewriting.py",
    "dataplane/routing/route_match.py",
    "dataplane/routing/router.py",
    "dataplane/routing/trie.py",
    "dataplane/runtime.py",
    "dataplane/limits/asking.py",
    "dataplane/limits/counts.py",
    "dataplane/limits/lease.py",
    "dataplane/limits/room.py",
    "dataplane/limits/rule.py",
    "dataplane/limits/token_bucket.py",
    "dataplane/limits/windows.py",
    "shared/histogram.py",
]


def extensions() -> list[Extension]:
    """The extension modules to build: none, unless asked for."""
    if os.environ.get("FLEXGATE_COMPILE") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  # only where it is asked for

    built: list[Extension] = mypycify(REQUEST_PATH, opt_level="3", debug_level="1")
    return built


setup(ext_modules=extensions())
