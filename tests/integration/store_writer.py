"""A process that writes configuration until it is killed: `python -m tests.integration.store_writer URL SEED`.

Prints the revision of each write that was answered, one a line.
"""

from __future__ import annotations

import asyncio
import random
import sys

from controlplane.changes import Change
from tests.support.configuration import Plane, delete, plane, route, upstream


async def write(parts: Plane, chance: random.Random) -> None:
    """Writes of one to thirty changes: routes are created, changed and deleted."""
    await parts.commit(upstream("u"))
    while True:
        committed = await parts.newest()
        names = {f"r{chance.randrange(60)}" for _ in range(chance.choice([1, 1, 5, 30]))}
        there = {name for kind, name in committed.table if kind == "route"}
        changes: list[Change] = [
            delete("route", name)
            if name in there and chance.random() < 0.4
            else route(name, priority=chance.randrange(1000))
            for name in sorted(names)
        ]
        print((await parts.commit(*changes, force=True)).committed.revision, flush=True)


async def main(url: str, seed: str) -> None:
    async with plane(url) as parts:
        await write(parts, random.Random(seed))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
