"""Leases: requests taken from the store ahead of time, so that most need no call of their own.

A node takes as many as a key has used up lately, and never holds more than its share of a tenth of the limit (SHARE);
so all nodes together hold a tenth at most, or one request each where that is more. That is the whole error: so many may
be granted later than they were taken, and so many may lie unused on one node while another refuses. A lease that is not
used ends; after a refusal the store is not asked again before it would grant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from dataplane.limits.asking import Ask
from dataplane.limits.asking import Rule as StoreRule
from dataplane.limits.room import KeyRoom, Keys
from dataplane.limits.rule import Rule

if TYPE_CHECKING:
    from dataplane.limits.store import Store

SHARE: Final = 0.1
"""Of the limit: what all nodes together may hold."""
_LONGEST: Final = 10.0
"""Seconds that a lease lasts at most; else a tenth of the window."""
_MOST_LEASES: Final = 100_000
"""In one generation of one rule, as of counts."""


class LeaseHolder:
    """A request that waits for a lease; told when there is something new."""

    __slots__ = ()

    def try_again(self) -> None:
        """The store has answered."""
        raise NotImplementedError

    def failed(self) -> None:
        """The store has no answer."""
        raise NotImplementedError


class Lease(Ask):
    """What this node holds of one key. Times are of the leases' own clock."""

    __slots__ = (
        "_ends",
        "_since",
        "_taken",
        "_telling",
        "asked",
        "empty_until",
        "held",
        "key",
        "leases",
        "left",
        "reset",
        "waiting",
        "want",
    )

    def __init__(self, leases: Leases, key: str) -> None:
        self.leases = leases
        self.key = key
        self.held = 0
        self.want = 1  # how many the next lease is of
        self.asked = False
        self.empty_until = 0.0  # until then the store grants nothing
        self.left = 0.0  # in the store, when it was asked last
        self.reset = 0.0  # seconds until all is back, as it said
        self.waiting: list[LeaseHolder] = []
        self._taken = 0
        self._telling = False
        self._since = 0.0
        self._ends = 0.0

    def has(self, now: float) -> bool:
        """Whether there is one to use."""
        if self.held > 0 and now >= self._ends:
            self.want = max(1, self._taken - self.held)  # as many as it needed in that time
            self.held = 0
        return self.held > 0

    def use(self, now: float, nodes: int) -> None:
        """Use one; the next lease is taken before this one is used up."""
        self.held -= 1
        if not self.asked and self.held * 4 < self._taken and self.want > 1:
            self.take(now, nodes)

    def take(self, now: float, nodes: int) -> None:
        """Ask the store for more, unless that is on its way."""
        if self.asked or self._telling:
            return
        self.asked = True
        leases = self.leases
        leases.nodes = nodes
        if self._taken and self.held * 2 < self._taken and now - self._since < leases.seconds / 2:
            self.want *= 2
        self.want = max(1, min(self.want, leases.most(nodes)))
        leases.store.lease(self, self.key, leases.rule, max(self.want - self.held, len(self.waiting), 1))

    def answered(self, granted: bool, numbers: Sequence[Any], at: int, behind: int) -> None:
        """As Ask has it."""
        now = self.leases.store.now()
        self.asked = False
        self.left, self.reset = float(numbers[at + 1]), float(numbers[at + 3])
        if not self.has(now):
            self.held = 0
        self.held += int(numbers[at])
        self._taken, self._since = self.held, now
        self._ends = now + (min(self.leases.seconds, self.reset) if self.leases.by_the_clock else self.leases.seconds)
        self.empty_until = now + float(numbers[at + 2])
        self._tell(False)

    def failed(self) -> None:
        """As Ask has it."""
        self.asked = False
        self._tell(True)

    def _tell(self, failed: bool) -> None:
        waiting, self.waiting = self.waiting, []
        self._telling = True  # whoever has to wait again is asked for together with all the others
        for holder in waiting:
            if failed:
                holder.failed()
            else:
                holder.try_again()
        self._telling = False
        if self.waiting:
            leases = self.leases
            self.take(leases.store.now(), leases.nodes)


class Leases(Keys):
    """The leases of one rule, by key: bounded in number as counts are."""

    __slots__ = (
        "_limit",
        "_new",
        "_old",
        "_turned",
        "_window",
        "by_the_clock",
        "nodes",
        "room",
        "rule",
        "seconds",
        "store",
    )

    def __init__(self, rule: Rule, store_rule: StoreRule, store: Store) -> None:
        self.rule = store_rule
        self.store = store
        self.by_the_clock = rule.algorithm == "fixed-window"  # what is granted in a window must not leave it
        self.seconds = min(_LONGEST, rule.window / 10.0)
        self.nodes = 1  # when one was taken last
        self.room: KeyRoom | None = None  # what it shares with other rules
        self._limit = min(rule.limit, rule.burst)
        self._window = rule.window
        self._new: dict[str, Lease] = {}
        self._old: dict[str, Lease] = {}
        self._turned = float("-inf")

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def most(self, nodes: int) -> int:
        """How many requests one key's lease may hold on this node."""
        return max(1, int(self._limit * SHARE / nodes))

    def find(self, key: str, now: float) -> Lease:
        """The lease of a key; a new one holds nothing."""
        if now - self._turned > self._window or len(self._new) >= _MOST_LEASES:
            self.age(now)
        lease = self._new.get(key)
        if lease is None:
            lease = self._old.get(key)
            if lease is None:
                if self.room is not None:
                    self.room.grew(now)
                lease = Lease(self, key)
            self._new[key] = lease
        return lease

    def age(self, now: float) -> None:
        """As Keys has it."""
        self._old, self._new, self._turned = self._new, {}, now
