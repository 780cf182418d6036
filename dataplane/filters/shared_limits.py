"""Rate limits counted in Redis: the step of a route whose limits are shared exactly by all nodes.

The request waits for one future, which the store's answer settles; nothing else of it runs meanwhile. While the store
is lost nobody waits: `onStoreError` decides at once.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dataplane.errors import GatewayError, LimitStoreLost
from dataplane.exchange import Exchange
from dataplane.filters.limit_rules import Limit
from dataplane.filters.local_limits import LocalLimits, lines
from dataplane.limits.asking import Ask

if TYPE_CHECKING:
    from dataplane.limits.store import Store
    from dataplane.live import Live

_RETRY_SECONDS: Final = 1


class SharedLimits(LocalLimits):
    """Asks the store for every request. `without` is local, open or closed: what decides while the store cannot."""

    def __init__(
        self,
        route: str,
        limits: Sequence[Limit],
        consumers: Mapping[str, Limit],
        live: Live,
        store: Store,
        without: str,
    ) -> None:
        super().__init__(route, limits, consumers, live)
        self.store = store
        self.without = without
        self.loop = live.loop

    def __call__(self, x: Exchange) -> Future[None] | None:
        """Let the request through, raise a GatewayError, or return what becomes one of the two."""
        if self.store.lost:
            self.decide_without(x)
            return None
        limits = [limit for limit in self.limits_for(x) if limit.applies is None or limit.applies(x.path)]
        if not limits:
            return None
        future: Future[None] = self.loop.create_future()
        self.ask(x, limits, future)
        return future

    def ask(self, x: Exchange, limits: list[Limit], future: Future[None]) -> None:
        """Ask the store for one request of all these limits together; its answer settles the future."""
        keys: list[str] = []
        granting = 0
        for limit in limits:
            keys.append(limit.store_key + limit.key(x))
            if not limit.shadow:
                granting += 1
        waiting = Waiting(x, self, limits, future)
        if len(keys) == 1:
            self.store.ask_one(waiting, keys[0], limits[0].store_rule, bool(granting))
        else:
            self.store.ask(
                waiting, "\n".join(keys), keys[:granting], keys[granting:], [limit.store_rule for limit in limits]
            )

    def decide_without(self, x: Exchange) -> None:
        """What `onStoreError` says; raises a GatewayError."""
        self.store.fallbacks += 1
        if self.without == "local":
            self.decide(x)
        elif self.without == "closed":
            raise LimitStoreLost(retry_after=_RETRY_SECONDS)


class Waiting(Ask):
    """A request that waits for the store."""

    __slots__ = ("future", "limits", "step", "x")

    def __init__(self, x: Exchange, step: SharedLimits, limits: list[Limit], future: Future[None]) -> None:
        self.x = x
        self.step = step
        self.limits = limits  # those that must grant first, as they were asked
        self.future = future

    def answered(self, granted: bool, numbers: Sequence[Any], at: int, behind: int) -> None:
        """As Ask has it."""
        future = self.future
        if future.done():
            return  # the client is gone
        step = self.step
        told: Limit | None = None
        best = reset = 0.0
        at += 1
        for limit in self.limits:
            if limit.shadow:
                # The last ones of the group are those that this limit would have refused.
                if granted and behind < numbers[at]:
                    step.traffic.shadowed += 1
                at += 1
                continue
            number = float(numbers[at] if granted else numbers[at + 1])  # how many are left, or how long to wait
            if told is None or (number < best if granted else number > best):
                told, best, reset = limit, number, float(numbers[at + 2])
            at += 3
        wall = step.wall()
        if granted:
            if told is not None:
                self.x.limit_lines = lines(told, best + behind, reset, wall)
            future.set_result(None)
        elif told is not None:
            future.set_exception(step.refusal(self.x, told, best, wall))

    def failed(self) -> None:
        """As Ask has it."""
        if self.future.done():
            return
        try:
            self.step.decide_without(self.x)
        except GatewayError as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(None)
