"""Backpressure: a place among the requests in flight, now or after a wait in the queue, by priority.

It is the last filter: what a limit or an authentication refuses never takes a place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final

from dataplane.exchange import Exchange
from dataplane.filters.context import Context
from dataplane.overload.priorities import Priorities, Priority
from dataplane.overload.shedding import Shedding
from dataplane.runtime import RequestFilter
from shared.pb.resources_pb2 import Backpressure, Route

_MADE: Final = b"priorities"


def build(route: Route, context: Context) -> RequestFilter | None:
    shedding = context.live.shedding
    asked_for = wanted(context.settings.backpressure, given=context.settings.HasField("backpressure"))
    if not asked_for and not shedding.memory.limit:
        return None
    priorities: Priorities | None = context.made.get(_MADE)
    if priorities is None:
        priorities = context.made[_MADE] = Priorities(context.settings, context.consumers.values())
    return Admission(shedding, priorities.of(route), priorities.by_consumer).admit


def wanted(section: Backpressure, *, given: bool) -> bool:
    """Whether the section switches backpressure on: it does by being there, unless it says otherwise."""
    return given and (section.enabled or not section.HasField("enabled"))


class Admission:
    """The step of one route."""

    def __init__(self, shedding: Shedding, own: Priority, priorities: Mapping[str, Priority]) -> None:
        self._shedding = shedding
        self._own = own
        self._priorities = priorities

    def admit(self, x: Exchange) -> Awaitable[None] | None:
        priority = self._own
        if self._priorities and x.consumer is not None:
            priority = self._priorities.get(x.consumer, priority)
        return self._shedding.come(x, priority)
