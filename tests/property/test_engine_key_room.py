"""The room that the keys of all limits share: it is not exceeded, and small rules keep what they have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.room import MOST_KEYS, KeyRoom
from dataplane.limits.rule import Rule
from dataplane.limits.token_bucket import TokenBuckets


def sharing(room: KeyRoom, rules: int, window: float = 3600.0) -> list[TokenBuckets]:
    """So many rules that share the room."""
    made = [TokenBuckets(Rule(1, window, 1)) for _ in range(rules)]
    for counts in made:
        counts.room = room
        room.add(counts)
    return made


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(1, 120)), max_size=60))
def test_the_room_is_never_exceeded(rules: int, arrivals: list[tuple[int, int]]) -> None:
    """However many keys come to whichever rules; one that has no more than its even share forgets nothing."""
    made, known = sharing(room := KeyRoom(100), rules), [0] * rules
    for number, (index, keys) in enumerate(arrivals):
        counts = made[index % rules]
        for key in range(keys):
            counts.take(f"{number} {key}", 0.0)
            assert sum(map(len, made)) <= 101
            known[index % rules] += 1
    for counts, came in zip(made, known, strict=True):
        if came <= 90 // rules:
            assert len(counts) == came
    assert repr(room).startswith("<KeyRoom")


def test_an_attack_on_many_rules_stays_bounded() -> None:
    """Twenty limits that count by address, each attacked with its own addresses: no more than the room in all."""
    made = sharing(KeyRoom(), 20)
    for number in range(2 * MOST_KEYS):
        made[number % 20].take(f"key {number}", 0.0)
    assert MOST_KEYS // 2 < sum(map(len, made)) <= MOST_KEYS


def test_an_attack_on_one_rule_is_forgotten_by_that_one() -> None:
    """A client that another rule refuses is refused all the while."""
    attacked, other = sharing(KeyRoom(1000), 2)
    assert other.take("client", 0.0) >= 0.0
    for number in range(10_000):
        attacked.take(f"key {number}", 0.0)
    assert other.take("client", 0.0) < 0.0


def test_a_rule_that_is_gone_leaves_its_room() -> None:
    """What it had is free for the others."""
    first, second = sharing(room := KeyRoom(100), 2)
    for number in range(100):
        first.take(f"key {number}", 0.0)
    room.remove(first)
    for number in range(90):
        second.take(f"key {number}", 0.0)
    assert len(second) == 90
