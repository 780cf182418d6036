"""Names: when they are asked about again, what of an answer is kept, and how requests wait for the first one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import ConnectFailed, ConnectTimeout
from dataplane.runtime import Upstream
from dataplane.upstream.lookup import MOST_ADDRESSES, LookUpFailed, routed, usable
from dataplane.upstream.resolving import (
    LONGEST_TTL,
    SHORTEST_TTL,
    Name,
    after_answer,
    after_failure,
    first_addresses,
)
from dataplane.upstream.watches import Watches
from tests.support.deadline import Bell

CHANCE = st.floats(0, 1, exclude_max=True)


@given(ttl=st.floats(0, 1e6), chance=CHANCE)
def test_a_name_is_asked_about_after_its_ttl(ttl: float, chance: float) -> None:
    """Never before it ends, at most a tenth later, and within the bounds."""
    seconds = after_answer(ttl, None, chance)
    bounded = min(max(ttl, SHORTEST_TTL), LONGEST_TTL)
    assert bounded <= seconds <= bounded * 1.1


@given(ttl=st.floats(0, 1e6), refresh=st.floats(0.1, 1e5), chance=CHANCE)
def test_refresh_overrides_the_ttl(ttl: float, refresh: float, chance: float) -> None:
    """Whatever the TTL is, and its bounds."""
    assert refresh <= after_answer(ttl, refresh, chance) <= refresh * 1.1


@given(failures=st.integers(1, 10**6), chance=CHANCE)
def test_failures_are_tried_again_ever_later(failures: int, chance: float) -> None:
    """From half a second up to ten, half of it by chance."""
    assert 0.25 <= after_failure(failures, chance) <= 10
    assert after_failure(failures, chance) <= after_failure(failures + 1, chance)


@given(found=st.lists(st.ip_addresses().map(str), min_size=1, max_size=20), order=st.randoms())
def test_the_order_of_an_answer_does_not_matter(found: list[str], order: Any) -> None:
    """Each address once; a server that rotates its answers changes nothing."""
    shuffled = [*found, *found[:3]]
    order.shuffle(shuffled)
    assert usable(shuffled, lambda _: True) == usable(found, lambda _: True)
    assert set(usable(found, lambda _: True)) == set(found)


def test_addresses_without_a_route_are_left_out() -> None:
    """A machine without IPv6 does not try it; where nothing has a route, all stay."""
    assert usable(["2001:db8::1", "10.0.0.1"], lambda address: ":" not in address) == ("10.0.0.1",)
    assert usable(["2001:db8::1"], lambda _: False) == ("2001:db8::1",)


def test_loopback_has_a_route() -> None:
    """Asking the system for one sends nothing and needs nobody there."""
    assert routed("127.0.0.1")
    assert not routed("255.255.255.255")


def test_an_answer_is_bounded() -> None:
    """Thousands of addresses do not become thousands of endpoints."""
    assert len(usable([f"10.0.{i // 250}.{i % 250}" for i in range(5000)], lambda _: True)) == MOST_ADDRESSES


@pytest.mark.parametrize("found", [[], ["fe80::1%eth0"]])
def test_an_answer_without_addresses_is_a_failure(found: list[str]) -> None:
    """As is one whose addresses mean something on one interface only."""
    with pytest.raises(LookUpFailed):
        usable(found, lambda _: True)


def waiting(*names: Name, dns: float = 5.0) -> Upstream:
    """What `first_addresses` reads of an upstream."""
    return cast(Upstream, SimpleNamespace(names=names, dns=dns))


async def test_requests_wait_for_the_first_answer() -> None:
    """The first name that has an address is enough, and nothing of the waiting stays behind."""
    one, other = Name("u", "a"), Name("u", "b")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(first_addresses(waiting(one, other))) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(one.waiters) == len(other.waiters) == 3
        other.error = "gone"
        other.wake()
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        one.addresses = ("10.0.0.1",)
        one.wake()
    assert (one.waiters, other.waiters) == ({}, {})


async def test_requests_fail_once_every_name_has_failed() -> None:
    """The reason is that of the look-up."""
    one = Name("u", "a")
    task = asyncio.ensure_future(first_addresses(waiting(one)))
    await asyncio.sleep(0)
    one.error = "not found"
    one.wake()
    with pytest.raises(ConnectFailed, match="not found"):
        await task


async def test_waiting_has_an_end() -> None:
    """`timeout.dns`; and a request that is cancelled leaves nothing behind."""
    one = Name("u", "a")
    with pytest.raises(ConnectTimeout):
        await first_addresses(waiting(one, dns=0.01))
    task = asyncio.ensure_future(first_addresses(waiting(one)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.waiters == {}


async def test_watches_follow_what_is_wanted() -> None:
    """A thing that stays keeps its task, others start and end with being wanted; cancelling `run` ends all."""
    bell, running, started = Bell(), set[str](), list[str]()

    def watch(key: str) -> Any:
        async def keep() -> None:
            started.append(key)
            running.add(key)
            bell.ring()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                running.discard(key)
                bell.ring()

        return keep

    watches: Watches[str] = Watches()
    watches.follow({"a": watch("a"), "b": watch("b")})
    assert started == []
    task = asyncio.ensure_future(watches.run())
    await bell.until(lambda: running == {"a", "b"})
    watches.follow({"b": watch("b"), "c": watch("c")})
    await bell.until(lambda: running == {"b", "c"})
    assert started == ["a", "b", "c"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert running == set()


async def test_a_watch_that_breaks_begins_again_and_ends_no_other() -> None:
    """A fault of the program in one look-up or one probe must not stop the traffic."""
    bell, seen = Bell(), []

    async def broken() -> None:
        seen.append("broken")
        bell.ring()
        raise RuntimeError("a fault")

    async def well() -> None:
        seen.append("well")
        await asyncio.get_running_loop().create_future()

    watches: Watches[str] = Watches(pause=0.0)
    watches.follow({"a": broken, "b": well})
    task = asyncio.ensure_future(watches.run())
    await bell.until(lambda: seen.count("broken") == 3)
    assert seen.count("well") == 1
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
