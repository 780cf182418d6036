"""Whose token this is: the signature by the keys, the claims by the rules, and what of them the gateway passes on.

A token that was good is remembered until it expires, or until the keys change: verifying one takes about a tenth of a
millisecond, as much as several requests. Only good tokens are remembered, so nobody can fill the memory with bad ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from dataplane.tokens import claims as of_token
from dataplane.tokens.claims import Claims, Rules
from dataplane.tokens.key_source import KeySource
from shared.jws import signed_claims

MOST_KNOWN: Final = 2048
"""Tokens remembered for one way to authenticate; about 2 KB each."""


class NoKeysError(Exception):
    """There are no keys to verify with; the text says why."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whoever holds a good token. `expires`: epoch seconds, with the leeway; `lines`: header lines that tell claims."""

    name: str
    scopes: frozenset[str]
    expires: float
    lines: tuple[bytes, ...]
    claims: Claims


Known = dict[bytes, Bearer]
"""By the SHA-256 of the token."""


class Verifier:
    """One way to authenticate by token. It outlives configurations for as long as one of them has it."""

    def __init__(
        self, source: KeySource, algorithms: Collection[str], rules: Rules, headers: Mapping[str, bytes]
    ) -> None:
        self.source = source
        self.rules = rules
        self._algorithms = algorithms
        self._headers = headers
        self._keys = source.keys
        self._known: Known = {}

    def __repr__(self) -> str:
        return f"<Verifier {self.source!r} {len(self._known)} known>"

    def known(self) -> Known:
        """What is remembered under the keys of now: another object once they have changed."""
        if self._keys is not self.source.keys:
            self._keys, self._known = self.source.keys, {}
        return self._known

    def recall(self, token: bytes) -> Bearer | None:
        """Whose token this is, where that was found out before."""
        return self.known().get(sha256(token).digest())

    def verify(self, token: bytes, now: float) -> Bearer:
        """Whose token this is, and remember it. Raises BadTokenError, BadClaimError or NoKeysError."""
        bearer = self.examine(token, now)
        known = self.known()
        if len(known) >= MOST_KNOWN:
            for oldest in list(known)[: MOST_KNOWN // 4]:
                del known[oldest]
        known[sha256(token).digest()] = bearer
        return bearer

    def examine(self, token: bytes, now: float) -> Bearer:
        """The same, and forget it."""
        keys = self.source.keys
        if keys is None:
            raise NoKeysError(self.source.error or "they were not fetched yet")
        claims = signed_claims(token.decode("latin-1"), keys, self._algorithms)
        of_token.check(claims, self.rules, now)
        return Bearer(
            name=of_token.subject(claims),
            scopes=of_token.scopes(claims),
            expires=of_token.expiry(claims, self.rules),
            lines=of_token.field_lines(claims, self._headers),
            claims=claims,
        )
