"""Who goes first: the priority of a route, of a consumer, or of everything else. Read once, at compile.

The consumer's word wins over the route's, and that over the default. Of several priorities that name a route, the
heaviest counts. A priority named "default" gives the weight of what no other one names; without it that is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.pb.resources_pb2 import Consumer, Route, Settings

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Priority:
    """A name for people and metrics, and a weight: the heavier goes first and is shed last."""

    name: str
    weight: int


class Priorities:
    """The priorities of a configuration, by what they are looked up by."""

    def __init__(self, settings: Settings, consumers: Iterable[Consumer]) -> None:
        known = {one.name: Priority(one.name, one.weight) for one in settings.priorities}
        self.default = known.get(DEFAULT) or Priority(DEFAULT, 0)
        self.by_consumer: Mapping[str, Priority] = {
            one.name: known[one.priority] for one in consumers if one.priority in known
        }
        self._by_route: dict[str, Priority] = {}
        for one in sorted(settings.priorities, key=lambda one: one.weight):  # the heaviest last
            self._by_route |= dict.fromkeys(one.routes, known[one.name])

    def of(self, route: Route) -> Priority:
        """That of a route, which priorities may name by its name or its path."""
        named = [self._by_route[word] for word in (route.name, route.path) if word in self._by_route]
        return max(named, key=lambda one: one.weight, default=self.default)


def weights(settings: Settings) -> tuple[int, ...]:
    """The weight of every priority there is, the default included, ascending: each stands for a class."""
    default = next((one.weight for one in settings.priorities if one.name == DEFAULT), 0)
    return tuple(sorted({one.weight for one in settings.priorities} | {default}))
