"""What waits for the store: requests by what they ask, gathered into one round trip, and told apart again.

Requests with the same keys are one group of the script's: a busy key costs the same whether one waits or a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

MOST_KEYS: Final = 500
"""In one call: Lua's stack is bounded, and nobody else is served while a script runs."""

Rule = tuple[int, int, float, int]
"""(algorithm, limit, window, burst), as the script has them."""


class Ask:
    """One that waits. It hears exactly one of the two, once."""

    __slots__ = ()

    def answered(self, granted: bool, numbers: Sequence[Any], at: int, behind: int) -> None:
        """The store's word: its numbers of this group begin at `at`; `behind` were granted after this one."""
        raise NotImplementedError

    def failed(self) -> None:
        """The store has no answer."""
        raise NotImplementedError


class Group:
    """All that ask for the same keys: those that must grant, then those that count along."""

    __slots__ = ("asks", "count", "counting", "granting", "rules")

    def __init__(self, granting: list[str], counting: list[str], rules: list[Rule]) -> None:
        self.granting = granting
        self.counting = counting
        self.rules = rules  # of both, in that order
        self.asks: list[Ask] = []
        self.count = 0

    def add(self, ask: Ask, count: int = 1) -> None:
        """One more; a lease asks for several requests at once."""
        self.asks.append(ask)
        self.count += count

    def told(self, numbers: Sequence[Any], at: int) -> int:
        """Tell all that wait what the store said; where the next group's numbers begin."""
        granted = int(numbers[at])
        at += 1
        if len(self.asks) == 1:
            self.asks[0].answered(granted > 0, numbers, at - 1, 0)
        else:
            behind = granted
            for ask in self.asks:
                behind -= 1
                ask.answered(behind >= 0, numbers, at - 1, behind)
        return at + 3 * len(self.granting) + len(self.counting)

    def gave_up(self) -> None:
        """Tell all that wait that there is no answer."""
        for ask in self.asks:
            ask.failed()


class Batch:
    """The groups of one call. `deadline`: when those who wait are told that there is no answer.

    `whole`: the script's text went with it, because Redis did not have it.
    """

    __slots__ = ("deadline", "groups", "whole")

    def __init__(self, groups: list[Group], deadline: float) -> None:
        self.groups = groups
        self.deadline = deadline
        self.whole = False

    def words(self, *name: bytes) -> tuple[bytes, ...]:
        """The call of the script; `name`: EVALSHA and its hash, or EVAL and its text."""
        indexes: dict[str, int] = {}
        rules: list[Rule] = []
        groups: list[tuple[int, list[int], list[int]]] = []
        for group in self.groups:
            listed: list[int] = []
            for place, key in enumerate(group.granting + group.counting):
                index = indexes.get(key)
                if index is None:
                    index = indexes[key] = len(indexes) + 1
                    rules.append(group.rules[place])
                listed.append(index)
            many = len(group.granting)
            groups.append((group.count, listed[:many], listed[many:]))
        words = [*name, b"%d" % len(indexes)]
        for key in indexes:
            words.append(key.encode("utf-8", "surrogatepass"))  # noqa: PERF401 - compiled, a loop is as fast
        words.append(orjson.dumps({"rules": rules, "groups": groups}))
        return tuple(words)

    def told(self, reply: bytes) -> None:
        """Tell everyone; ValueError where the reply does not fit what was asked: then nobody was told."""
        numbers: Any = orjson.loads(reply)
        expected = sum([1 + 3 * len(group.granting) + len(group.counting) for group in self.groups])
        if not isinstance(numbers, list) or len(numbers) != expected:
            raise ValueError("the script's answer does not fit")
        for number in numbers:
            if not isinstance(number, (int, float)):
                raise ValueError("the script's answer is not of numbers")
        at = 0
        for group in self.groups:
            at = group.told(numbers, at)

    def gave_up(self) -> None:
        """Tell everyone that there is no answer."""
        for group in self.groups:
            group.gave_up()


class Gathering:
    """The groups that go with the next call, by what they ask for."""

    __slots__ = ("groups", "since")

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.since = 0.0  # when the first of them came

    def take(self, seconds: float) -> list[Batch]:
        """All of it, in calls of bounded size, to be answered within `seconds` from when the first came."""
        deadline = self.since + seconds
        groups = list(self.groups.values())
        self.groups = {}
        batches: list[Batch] = []
        part: list[Group] = []
        keys = 0
        for group in groups:
            more = len(group.granting) + len(group.counting)
            if keys + more > MOST_KEYS and part:
                batches.append(Batch(part, deadline))
                part, keys = [], 0
            part.append(group)
            keys += more
        if part:
            batches.append(Batch(part, deadline))
        return batches
