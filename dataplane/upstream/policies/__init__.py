"""How a balancer chooses: one line in the table for each word of `loadBalancer.policy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dataplane.upstream.balancer import Balancer, Balancing, Sources
from dataplane.upstream.policies.consistent_hash import ConsistentHash
from dataplane.upstream.policies.random_choice import Ewma, LeastRequest, Random

if TYPE_CHECKING:
    from dataplane.runtime import Endpoint
    from dataplane.upstream.pool import Pool

POLICIES: Final[Mapping[str, type[Balancer]]] = {
    "round-robin": Balancer,
    "least-request": LeastRequest,
    "ewma": Ewma,
    "random": Random,
    "consistent-hash": ConsistentHash,
}


def balancer(name: str, endpoints: Mapping[Pool, Endpoint], rules: Balancing, sources: Sources) -> Balancer:
    """The balancer of an upstream, as its rules want it."""
    return POLICIES[rules.policy](name, endpoints, rules, sources)
