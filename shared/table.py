"""The table of resources: what the control plane publishes and what a node holds, with its digest.

A digest is the sum of one hash per resource, modulo 2**128, so it does not depend on order and one changed resource
costs one subtraction and one addition however large the table is. It is made of the encoded bodies as they travel:
both planes hash the same bytes, and neither has to encode a message again to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from weakref import ref

from google.protobuf.message import DecodeError, Message

from shared.faults import ConfigError, Fault
from shared.pb.resources_pb2 import Config, Consumer, Credential, Resource, Route, Settings, Upstream

Key = tuple[str, str]
"""(kind, name): the identity of a resource."""

KINDS: dict[str, type[Message]] = {
    "settings": Settings,
    "upstream": Upstream,
    "route": Route,
    "consumer": Consumer,
    "credential": Credential,
}
SETTINGS: Key = ("settings", "default")
DIGEST_BYTES = 16
_MODULUS = 1 << (8 * DIGEST_BYTES)


def key_of(resource: Resource) -> Key:
    """The identity of an encoded resource."""
    return resource.kind, resource.name


def pack(kind: str, name: str, message: Message) -> Resource:
    """Encode a message as it travels and is kept."""
    return Resource(kind=kind, name=name, body=message.SerializeToString(deterministic=True))


def unpack(resource: Resource) -> Message:
    """The message within; a ConfigError where its kind is unknown here or its body does not decode."""
    message_type = KINDS.get(resource.kind)
    if message_type is None:
        reason = f"this version does not know resources of kind {resource.kind!r}; upgrade the node"
        raise ConfigError([Fault("", reason, "unknown_kind", resource.kind, resource.name)])
    try:
        return message_type.FromString(resource.body)
    except DecodeError as error:
        fault = Fault("", f"the body does not decode: {error}", "undecodable", resource.kind, resource.name)
        raise ConfigError([fault]) from error


def hash_of(resource: Resource) -> int:
    """The share of one resource in the digest. Lengths are hashed too, so fields cannot flow into each other."""
    kind, name = resource.kind.encode(), resource.name.encode()
    state = blake2b(b"%d:%d:" % (len(kind), len(name)), digest_size=DIGEST_BYTES)
    state.update(kind)
    state.update(name)
    state.update(resource.body)
    return int.from_bytes(state.digest(), "big")


class Table(Mapping[Key, Resource]):
    """An immutable set of resources by key, with their digest."""

    __slots__ = ("__weakref__", "_base", "_by_key", "_sum", "_touched")

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_key = {key_of(resource): resource for resource in resources}
        self._sum = sum(map(hash_of, self._by_key.values())) % _MODULUS
        # The table that this one was made of, as long as somebody else holds it, and the keys in which they may differ:
        # so that a small change of a large table costs little wherever it is followed.
        self._base: ref[Table] | None = None
        self._touched: tuple[Key, ...] = ()

    def __getitem__(self, key: Key) -> Resource:
        return self._by_key[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"<Table {len(self)} resources {self.digest.hex()}>"

    @property
    def digest(self) -> bytes:
        """16 bytes; equal for equal tables, whatever the order they were built in."""
        return self._sum.to_bytes(DIGEST_BYTES, "big")

    def changed(self, upserts: Iterable[Resource], removes: Iterable[Key]) -> Table:
        """This table with resources put in or replaced, and others taken out where they are there."""
        table = Table()
        by_key, total = dict(self._by_key), self._sum
        upserts, removes = list(upserts), list(removes)
        table._base, table._touched = ref(self), tuple(dict.fromkeys([*removes, *map(key_of, upserts)]))
        for key in removes:
            gone = by_key.pop(key, None)
            if gone is not None:
                total -= hash_of(gone)
        for resource in upserts:
            old = by_key.get(key_of(resource))
            if old is not None:
                total -= hash_of(old)
            by_key[key_of(resource)] = resource
            total += hash_of(resource)
        table._by_key, table._sum = by_key, total % _MODULUS
        return table

    def since(self, older: Table) -> tuple[list[Resource], list[Key]]:
        """(upserts, removes) that make this table from `older`."""
        if self._base is not None and self._base() is older:
            there = [(key, self._by_key[key]) for key in self._touched if key in self._by_key]
            gone = [key for key in self._touched if key in older._by_key and key not in self._by_key]
            return [resource for key, resource in there if older._by_key.get(key) != resource], gone
        upserts = [r for key, r in self._by_key.items() if (old := older._by_key.get(key)) is not r and old != r]
        return upserts, [key for key in older._by_key if key not in self._by_key]


def table_of(config: Config) -> Table:
    """The resources of a checked, normalised configuration document."""
    resources = [pack(*SETTINGS, config.settings)]
    for kind, messages in (
        ("upstream", config.upstreams),
        ("route", config.routes),
        ("consumer", config.consumers),
        ("credential", config.credentials),
    ):
        resources += [pack(kind, message.name, message) for message in messages]
    return Table(resources)


def config_of(table: Table) -> Config:
    """The document that a table was made of: the resources of each kind in the table's order."""
    config = Config()
    parse: dict[str, Callable[[bytes], object]] = {
        "settings": config.settings.MergeFromString,
        "upstream": lambda body: config.upstreams.add().MergeFromString(body),
        "route": lambda body: config.routes.add().MergeFromString(body),
        "consumer": lambda body: config.consumers.add().MergeFromString(body),
        "credential": lambda body: config.credentials.add().MergeFromString(body),
    }
    for resource in table.values():
        parse[resource.kind](resource.body)
    return config
