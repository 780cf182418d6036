"""How many keys all rules of a worker may remember together, so that many rules cannot fill memory where one could not.

Every rule bounds its own; this bounds their sum. When it is reached, the rules that hold more than an even share forget
what is oldest with them, until a tenth of the room is free: an attack costs those that are attacked, and no others.
"""

from __future__ import annotations

from typing import Final

MOST_KEYS: Final = 250_000
"""Some 60 megabytes of counts, a third more where all of them are leases."""
_FILLED: Final = 0.9
"""How full it is after room was made."""


class Keys:
    """What one rule remembers, by key. It says `grew` to the room before it remembers one more."""

    __slots__ = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def age(self, now: float) -> None:
        """Forget the older half; what is left is the older half from now on."""
        raise NotImplementedError


class KeyRoom:
    """The rules that share the room."""

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._rules: dict[Keys, None] = {}  # thousands may go in one edit
        self._free = most  # at least so many may come before anyone has to count

    def __repr__(self) -> str:
        return f"<KeyRoom {sum(map(len, self._rules))} of {self._most}>"

    def add(self, rule: Keys) -> None:
        """One more rule."""
        self._rules[rule] = None

    def remove(self, rule: Keys) -> None:
        """The rule is gone, with all that it remembered."""
        self._rules.pop(rule, None)

    def grew(self, now: float) -> None:
        """A rule is about to remember one more key."""
        self._free -= 1
        if self._free < 0:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        wanted = int(self._most * _FILLED)
        for _ in range(2):  # the second time for those that had no older half
            held = sum([len(rule) for rule in self._rules])
            share = wanted // len(self._rules) if self._rules else 0
            for rule in sorted(self._rules, key=len, reverse=True):
                if held <= wanted or len(rule) <= share:
                    break
                before = len(rule)
                rule.age(now)
                held -= before - len(rule)
        self._free = self._most - sum([len(rule) for rule in self._rules])
