"""The same key to the same endpoint: a ring of points (Karger), as in nginx, Envoy and HAProxy.

Why a ring: when endpoints change, only the keys of theirs move; a look-up is one hash and one bisection however many
there are; and to leave out an endpoint that fails, nothing is built anew: its keys walk on to the next point, which is
another's each time, so they spread. Rendezvous hashing is as steady, and asks every endpoint for each request. Maglev
is as fast, moves more keys, and is built anew for every change of health.

All workers and nodes agree, whatever order endpoints are listed in: points depend on an endpoint's address and weight
alone. Each unit of weight is 256 points, which holds shares within about a tenth; a ring that would have more than
16384 has half as many for each, and so on, and some keys move when that happens.
"""

from __future__ import annotations

import zlib
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from dataplane.http1.fields import value_of
from dataplane.upstream.balancer import Balancer, Balancing, Sources

if TYPE_CHECKING:
    from dataplane.exchange import Exchange
    from dataplane.runtime import Endpoint
    from dataplane.upstream.pool import Pool

KeyOf = Callable[["Exchange"], bytes]

_POINTS: Final = 256
_MOST_POINTS: Final = 16_384
_FEWEST_POINTS: Final = 16
_DIGEST: Final = 64
_WORD: Final = 0xFFFFFFFF


class ConsistentHash(Balancer):
    """By a header, a cookie, the consumer or the client's address; without the first three the address decides."""

    def __init__(self, name: str, endpoints: Mapping[Pool, Endpoint], rules: Balancing, sources: Sources) -> None:
        self.key_of = key_of(rules.on)
        self.points: list[int] = []
        self.owners: list[Pool] = []
        self._weights: dict[Pool, int] = {}  # what the ring was built for
        super().__init__(name, endpoints, rules, sources)

    def pick(self, x: Exchange, tried: Sequence[Pool]) -> Pool | None:
        """The first endpoint from the key's place on, of those that may be used and were not tried."""
        only = self.only
        if only is not None:
            return only
        rotation = self.rotation
        if not rotation.pools:
            return None
        if tried:
            rotation = rotation.without(tried)
        usable, owners = rotation.weights, self.owners
        index = bisect(self.points, place(self.key_of(x)))
        for _ in range(len(owners)):
            if index >= len(owners):
                index = 0
            if owners[index] in usable:
                return owners[index]
            index += 1
        return rotation.pools[0]

    def refresh(self) -> None:
        """A ring is built for endpoints, and kept while they only fail and return."""
        weights = {pool: endpoint.weight for pool, endpoint in self.endpoints.items() if endpoint.weight}
        if weights != self._weights:
            self._weights = weights
            ring = sorted(_points(weights), key=lambda entry: (entry[0], entry[1].address))
            self.points = [point for point, _ in ring]
            self.owners = [pool for _, pool in ring]
        super().refresh()


def _points(weights: Mapping[Pool, int]) -> list[tuple[int, Pool]]:
    total, halvings = sum(weights.values()) * _POINTS, 0
    while total >> halvings > _MOST_POINTS:
        halvings += 1
    return [
        (point, pool)
        for pool, weight in weights.items()
        for point in _points_of(pool.address, max(_FEWEST_POINTS, weight * _POINTS >> halvings))
    ]


def _points_of(address: str, count: int) -> list[int]:
    """Places on the ring: the first so many of a sequence without end that is the address's own."""
    points: list[int] = []
    for block in range(0, count * 4, _DIGEST):
        digest = blake2b(b"%d %b" % (block, address.encode()), digest_size=_DIGEST).digest()
        points += [int.from_bytes(digest[at : at + 4], "big") for at in range(0, _DIGEST, 4)]
    return points[:count]


def place(key: bytes) -> int:
    """Where a key stands on the ring: a checksum, stirred (murmur3's finish): alike keys have alike checksums."""
    word = zlib.crc32(key)
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & _WORD
    return word ^ (word >> 16)


def key_of(on: str) -> KeyOf:
    """What a request is told apart by: "ip", "consumer", "header:NAME" or "cookie:NAME"."""
    kind, _, name = on.partition(":")
    wanted = name.strip().encode("latin-1", "replace")
    if kind == "header":
        lower = wanted.lower()
        return lambda x: value_of(x.headers, lower) or x.client_ip.encode()
    if kind == "cookie":
        return lambda x: _cookie(x, wanted) or x.client_ip.encode()
    if kind == "consumer":
        return lambda x: (x.consumer or x.client_ip).encode()
    return lambda x: x.client_ip.encode()


def _cookie(x: Exchange, name: bytes) -> bytes:
    """The value of a cookie, its name in its own case (RFC 6265 5.4); nothing where there is none."""
    for field, line in x.headers:
        if field.name == b"cookie":
            for pair in line.split(b";"):
                found, _, value = pair.partition(b"=")
                if found.strip(b" \t") == name:
                    return value.strip(b" \t")
    return b""
