"""Rate limits: the global one, those by path, the route's own and the consumer's; all must have a request left.

Where they are counted is the configuration's choice: in memory, or in a Redis that all nodes share.
"""

from __future__ import annotations

from dataplane.filters.context import Context
from dataplane.filters.leased_limits import LeasedLimits
from dataplane.filters.limit_rules import leased, limits_of, limits_of_consumers, store_key_of
from dataplane.filters.local_limits import LocalLimits
from dataplane.filters.shared_limits import SharedLimits
from dataplane.runtime import RequestFilter
from shared import defaults
from shared.pb.resources_pb2 import Route


def build(route: Route, context: Context) -> RequestFilter | None:
    limits, consumers = limits_of(route, context), limits_of_consumers(route, context)
    if not limits and not consumers:
        return None
    live, config = context.live, context.settings.rate_limit
    key = store_key_of(context.settings)
    if key is None:
        return LocalLimits(route.name, limits, consumers, live)
    without = config.on_store_error or defaults.RATE_LIMIT_ON_STORE_ERROR
    step = LeasedLimits if leased(config) else SharedLimits
    return step(route.name, limits, consumers, live, live.store(key), without)
