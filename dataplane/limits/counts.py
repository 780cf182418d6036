"""What is counted for one rule, by key, in memory: bounded in number. Pure but for the time that is given.

A count that nobody touched for long enough is as good as none, so it need not be kept: two generations are turned over
at that pace, and what is still in the older one when it is dropped means nothing by then. Too many keys turn them over
sooner: whoever goes on asking is moved to the newer one, so an attack with a key per request forgets the attacker's.
"""

from __future__ import annotations

from typing import Final

from dataplane.limits.room import KeyRoom, Keys
from dataplane.limits.rule import Rule

_MOST_COUNTS: Final = 100_000
"""In one generation of one rule; room.py bounds those of all rules together."""


class Count:
    """The state of one key; the algorithm says what the numbers mean."""

    __slots__ = ("amount", "at", "before")

    def __init__(self, amount: float, at: float) -> None:
        self.amount = amount
        self.at = at
        self.before = 0.0


class Counts(Keys):
    """The counts of one rule; each algorithm is one of these. Each of `nodes` live nodes grants its share of the limit.

    `now` is in seconds, of a clock that need not be the wall's; `epoch` is what leads from it to the wall's.
    """

    __slots__ = ("_new", "_old", "_turned", "epoch", "room", "rule")

    def __init__(self, rule: Rule, epoch: float = 0.0) -> None:
        self.rule = rule
        self.epoch = epoch
        self.room: KeyRoom | None = None  # what it shares with other rules
        self._new: dict[str, Count] = {}
        self._old: dict[str, Count] = {}
        self._turned = float("-inf")

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def take(self, key: str, now: float, nodes: int = 1) -> float:
        """Take one request. Not negative: so many are left. Negative: refused, minus the seconds until one is."""
        raise NotImplementedError

    def give_back(self, key: str) -> None:
        """Undo a take that was granted at this very moment: another limit refused the request."""
        raise NotImplementedError

    def reset(self, left: float, now: float, nodes: int = 1) -> float:
        """Seconds until a key with so many left has all of its limit again."""
        raise NotImplementedError

    def find(self, key: str, now: float, keep: float) -> Count | None:
        """The count of a key, in the newer generation; `keep`: seconds after which an untouched one means nothing."""
        if now - self._turned > keep or len(self._new) >= _MOST_COUNTS:
            self.age(now)
        count = self._new.get(key)
        if count is None:
            count = self._old.get(key)
            if count is not None:
                self._new[key] = count
        return count

    def age(self, now: float) -> None:
        """As Keys has it."""
        self._old, self._new, self._turned = self._new, {}, now

    def add(self, key: str, amount: float, at: float, now: float) -> Count:
        """A new count."""
        if self.room is not None:
            self.room.grew(now)
        count = self._new[key] = Count(amount, at)
        return count
