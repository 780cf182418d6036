"""The outbox: what is held back leaves once, in order, with the turn of the loop."""

from __future__ import annotations

import asyncio

from dataplane.http1.outbox import Outbox


class Held:
    """A connection that tells when it is flushed."""

    def __init__(self, name: str, told: list[str], then: Held | None = None, outbox: Outbox | None = None) -> None:
        self._name, self._told, self._then, self._outbox = name, told, then, outbox

    def flush(self) -> None:
        self._told.append(self._name)
        if self._then is not None and self._outbox is not None:
            self._outbox.add(self._then)


async def test_all_of_a_turn_leave_in_order_at_its_end() -> None:
    """Nothing leaves before; everything leaves once."""
    told: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Held("a", told))
    outbox.add(Held("b", told))
    assert told == []
    await asyncio.sleep(0)
    assert told == ["a", "b"]
    await asyncio.sleep(0)
    assert told == ["a", "b"]


async def test_what_comes_while_flushing_leaves_with_the_next_turn() -> None:
    """A write may end an exchange and begin the next one."""
    told: list[str] = []
    outbox = Outbox(asyncio.get_running_loop())
    outbox.add(Held("a", told, Held("b", told), outbox))
    await asyncio.sleep(0)
    assert told == ["a"]
    await asyncio.sleep(0)
    assert told == ["a", "b"]
