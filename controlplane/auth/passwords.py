"""Passwords as argon2id, hashed off the event loop, a few at a time: each takes 64 MiB and some 50 ms.

An account that does not exist costs what one costs that does: its try is checked against a hash of nobody's password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

SHORTEST, LONGEST = 12, 256
"""Characters. Length is what counts (NIST SP 800-63B); the upper bound keeps a try from costing more than it should."""
AT_ONCE = 2
"""Hashes that are computed at the same time; the others wait."""
WAITING = 40
"""How many may wait: some two seconds' work."""


def fault(text: str) -> str:
    """What is wrong with a new password; "" where nothing is."""
    if not SHORTEST <= len(text) <= LONGEST:
        return f"a password has {SHORTEST} to {LONGEST} characters"
    if len(set(text)) < 4:
        return "a password has at least 4 different characters"
    return ""


class Passwords:
    """Hashes and verifies. The defaults of the library are RFC 9106's for little memory: 64 MiB, 3 passes."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._nobody: str | None = None
        self._asked = 0

    @property
    def busy(self) -> bool:
        """Whether so many wait already that a further one had better come again."""
        return self._asked >= WAITING

    async def hashed(self, text: str) -> str:
        """The encoded hash, with its parameters and salt."""
        with self._counted():
            async with self._turns:
                return await asyncio.to_thread(self._hasher.hash, text)

    async def verified(self, kept: str, text: str) -> bool:
        """Whether a password is the one that was hashed. `kept` is "" where there is none: then never, as slowly."""
        if self._nobody is None:
            self._nobody = await self.hashed("nobody's password")
        with self._counted():
            async with self._turns:
                right = await asyncio.to_thread(self._verify, kept or self._nobody, text[:LONGEST])
        return right and bool(kept) and len(text) <= LONGEST

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    def _verify(self, kept: str, text: str) -> bool:
        try:
            return self._hasher.verify(kept, text)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False
