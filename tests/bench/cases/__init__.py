"""The cases: one file each, one line in the table each. A case gets a stage and returns an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.cases import (
    big_request,
    big_response,
    boot,
    config_push,
    gateways,
    memory,
    noisy_route,
    post,
    reconnect_storm,
    redis_limit,
    route_table,
    small_get,
    stream,
    tokens,
    write_throughput,
)
from tests.bench.outcome import Outcome
from tests.bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, in one line, and the function that measures it; raises InvalidRunError where it could not.

    `tools` are the programs that it cannot do without.
    """

    title: str
    run: Callable[[Stage], Outcome]
    tools: tuple[str, ...] = ("nginx", "wrk", "taskset")


ALONE = ("taskset",)
"""The control plane is compared with nothing."""

CASES = {
    "small-get": Case("Small GET, 1000 routes, every policy on", small_get.run),
    "gateways": Case("Other gateways with the same policies", gateways.run),
    "route-table": Case("The same request with 1, 1000 and 10 000 routes", route_table.run),
    "redis-limit": Case("A rate limit in memory, in Redis and on lease from it", redis_limit.run),
    "tokens": Case("Clients that authenticate by token instead of by key", tokens.run),
    "post": Case("POST with bodies of 1 KiB and 64 KiB", post.run),
    "big-response": Case("Responses of 1 MiB", big_response.run),
    "big-request": Case("Requests of 1 MiB", big_request.run),
    "stream": Case("One long body down and up, with a stalled reader: memory stays flat", stream.run),
    "memory": Case("Memory of one worker with 1000 routes, after load", memory.run),
    "noisy-route": Case("A quiet route beside one at ten times its limit", noisy_route.run),
    "boot": Case("From start to ready, configuration from a file", boot.run),
    "config-push": Case("One route of 10 000 changed, until 100 nodes have acknowledged", config_push.run, ALONE),
    "reconnect": Case("A thousand current nodes reconnect at once", reconnect_storm.run, ALONE),
    "writes": Case("Writes over REST, on SQLite and PostgreSQL", write_throughput.run, ALONE),
}
