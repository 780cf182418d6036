"""Keeps the keys behind URLs fresh: one task for each URL that the configuration names.

While a provider cannot be asked, the last keys stay: an identity provider in trouble is no reason to stop serving
those who hold its tokens. Keys that a provider withdraws are gone with the next fetch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from random import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dataplane.upstream.watches import Watch, Watches, pause_after
from shared import log

if TYPE_CHECKING:
    from dataplane.runtime import Guard
    from dataplane.tokens.key_source import KeySource
    from dataplane.upstream.lookup import LookUp

REFRESH: Final = 300.0
"""Seconds between two fetches, up to a tenth more."""
_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0


class FetchFailed(Exception):
    """No keys; the text says why."""


class Refreshing:
    """Fetches the keys of the sources that are followed."""

    def __init__(
        self,
        look_up: LookUp,
        *,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random,
    ) -> None:
        self.sources: dict[str, KeySource] = {}
        self._look_up = look_up
        self._wall = wall
        self._chance = chance
        self._watches: Watches[tuple[KeySource, Guard]] = Watches()

    def follow(self, sources: Iterable[KeySource], guard: Guard) -> None:
        """Keep the keys of these, and of no others; connect only where the guard lets us."""
        wanted: dict[tuple[KeySource, Guard], Watch] = {
            (source, guard): self._watch(source, guard) for source in sources if source.url
        }
        followed = {source.url: source for source, _ in wanted}
        for url, source in self.sources.items():
            if url not in followed:
                source.fetched()  # nobody waits for what nobody fetches
        self.sources = followed
        self._watches.follow(wanted)

    async def run(self) -> None:
        """Until cancelled."""
        await self._watches.run()

    def _watch(self, source: KeySource, guard: Guard) -> Watch:
        async def keep() -> None:
            # Loaded beside the event loop, with the first fetch: it brings an HTTP client along.
            module = await asyncio.to_thread(import_module, "dataplane.tokens.fetch")
            while True:
                good = await self._once(source, guard, module)
                source.fetched()
                pause = REFRESH * (1 + self._chance() / 10)
                if not good:
                    pause = pause_after(source.failures, _FIRST_RETRY, _LAST_RETRY, self._chance())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await source.wanted.wait()

        return keep

    async def _once(self, source: KeySource, guard: Guard, module: Any) -> bool:
        """Fetch, and tell what that changed; whether it went well."""
        host = urlsplit(source.url).hostname
        source.fetches += 1
        try:
            content = await module.fetch(source.url, guard, self._look_up)
            if content != source.content or source.keys is None:
                source.keys, source.content = module.key_set(content), content
                log.info("jwks.changed", host=host, keys=len(source.keys))
        except FetchFailed as failure:
            source.fetches_failed += 1
            source.failures += 1
            source.error = str(failure)
            if source.failures == 1:
                log.warn("jwks.failed", host=host, error=source.error, kept=source.keys is not None)
            return False
        if source.error:
            log.info("jwks.recovered", host=host, failures=source.failures)
        source.failures, source.error, source.fetched_at = 0, "", self._wall()
        return True
