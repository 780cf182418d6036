"""What an upstream's message says of its endpoints as a whole -> the rules of its balancer."""

from __future__ import annotations

from dataplane.upstream.balancer import Balancing
from dataplane.upstream.endpoint_health import PassiveHealth
from shared import defaults
from shared.pb import resources_pb2 as pb


def compile_balancing(message: pb.Upstream) -> Balancing:
    """The rules, with defaults for what is not said."""
    balancer = message.load_balancer
    return Balancing(
        policy=balancer.policy or defaults.LOAD_BALANCER,
        on=balancer.on,
        passive=_passive(message.passive_health),
        slow_start=balancer.slow_start / 1000,
        panic_percent=balancer.panic_threshold
        if balancer.HasField("panic_threshold")
        else defaults.PANIC_THRESHOLD_PERCENT,
        has_fallback=bool(message.fallback),
    )


def _passive(message: pb.PassiveHealth) -> PassiveHealth | None:
    if not (message.enabled if message.HasField("enabled") else defaults.PASSIVE_HEALTH_ENABLED):
        return None
    failures = message.consecutive_failures or defaults.PASSIVE_HEALTH_CONSECUTIVE_FAILURES
    milliseconds = message.ejection_time or defaults.PASSIVE_HEALTH_EJECTION_TIME
    given = message.HasField("max_ejected_percent")
    percent = message.max_ejected_percent if given else defaults.PASSIVE_HEALTH_MAX_EJECTED_PERCENT
    return PassiveHealth(failures, milliseconds / 1000, percent)
