"""Leases without a Redis: what a node holds is bounded, whatever the store grants and whenever it answers.

Not among the tests of compiled code: what stands in for a request here cannot be a compiled class.
"""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.lease import Lease, LeaseHolder, Leases
from dataplane.limits.rule import Rule
from dataplane.limits.store import Store


class Asked:
    """A store that writes down what is asked; answers come when the test says."""

    def __init__(self) -> None:
        self.time = 0.0
        self.asked: list[tuple[Lease, int]] = []

    def now(self) -> float:
        return self.time

    def lease(self, lease: Lease, key: str, rule: Any, count: int) -> None:
        self.asked.append((lease, count))


class Holder(LeaseHolder):
    def try_again(self) -> None: ...

    def failed(self) -> None: ...


STEPS = st.lists(
    st.tuples(st.sampled_from(["use", "answer", "refuse", "fail", "wait"]), st.integers(0, 9)), max_size=200
)


@given(st.integers(1, 2000), st.integers(1, 9), STEPS)
def test_a_node_holds_its_share_of_a_tenth(limit: int, nodes: int, steps: list[tuple[str, int]]) -> None:
    """Never more than that (or one request), unless so many wait for it; nothing is used that was not granted."""
    store = Asked()
    leases = Leases(Rule(limit, 60.0, limit), (0, limit, 60.0, limit), cast(Store, store))
    lease = leases.find("key", 0.0)
    granted = used = 0
    for step, number in steps:
        if step == "use" and lease.has(store.time):
            lease.use(store.time, nodes)
            used += 1
        elif step == "use" and not lease.asked:
            lease.waiting.append(Holder())
            lease.take(store.time, nodes)
        elif step == "wait":
            store.time += number
        elif store.asked:
            _, count = store.asked.pop()
            if step == "fail":
                lease.failed()
                continue
            given_now = min(count, number) if step == "refuse" else count
            granted += given_now
            lease.answered(given_now > 0, [given_now, 0.0, 1.0 if given_now < count else 0.0, 60.0], 0, 0)
        assert len(store.asked) <= 1
        assert lease.held <= leases.most(nodes)
        assert used <= granted


def test_a_million_keys_stay_bounded() -> None:
    """An attack with a key per request costs two generations of leases."""
    leases = Leases(Rule(1, 60.0, 1), (0, 1, 60.0, 1), cast(Store, Asked()))
    for number in range(1_000_000):
        leases.find(f"key {number}", 0.0)
    assert len(leases) <= 200_000


def test_a_lease_that_is_not_used_ends() -> None:
    """After a tenth of the window; the next one is of as many as were used in that time."""
    store = Asked()
    lease = Leases(Rule(1000, 60.0, 1000), (0, 1000, 60.0, 1000), cast(Store, store)).find("key", 0.0)
    lease.want = 50
    lease.take(0.0, 1)
    lease.answered(True, [50, 900, 0.0, 6.0], 0, 0)
    for _ in range(7):
        lease.use(0.0, 1)
    assert lease.has(5.9)
    assert not lease.has(6.0)
    assert lease.want == 7
