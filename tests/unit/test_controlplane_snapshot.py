"""Encodings of a revision: what nodes are sent makes the table that was published, however they got to it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.snapshot import MESSAGE_BYTES, REMEMBERED, Snapshot, oversize
from shared.pb.discovery_pb2 import ControlMessage
from shared.pb.resources_pb2 import Resource
from shared.table import Table

KINDS = st.sampled_from(["route", "upstream"])
RESOURCES = st.builds(Resource, kind=KINDS, name=st.sampled_from("abcdef"), body=st.binary(max_size=3))
TABLES = st.lists(RESOURCES, max_size=8).map(Table)


def follow(tables: list[Table]) -> list[Snapshot]:
    """A snapshot of each table, as revisions 1, 2, 3, …"""
    snapshots = [Snapshot("e", 1, tables[0])]
    for revision, table in enumerate(tables[1:], 2):
        snapshots.append(snapshots[-1].followed_by("e", revision, table))
    return snapshots


def decoded(messages: tuple[bytes, ...]) -> list[ControlMessage]:
    return [ControlMessage.FromString(message) for message in messages]


@given(st.lists(TABLES, min_size=2, max_size=8))
def test_a_delta_from_any_base_makes_the_newest_table(tables: list[Table]) -> None:
    """Whatever happened between: the table that a node holds plus the delta is the table that was published."""
    *older, newest = follow(tables)
    for base in older:
        parts = newest.delta(base.revision, base.digest)
        assert parts is not None
        [message] = decoded(parts.messages)
        delta = message.delta
        made = base.table.changed(delta.upserts, [(key.kind, key.name) for key in delta.removes])
        assert made == newest.table
        assert made.digest == delta.digest == newest.digest
        assert (delta.nonce, delta.base_revision, delta.revision) == (parts.nonce, base.revision, newest.revision)


@given(st.lists(st.tuples(st.text("abc", max_size=4), st.integers(0, 400_000)), max_size=12))
@settings(max_examples=25, deadline=None)
def test_chunks_carry_the_table_within_bounds(sizes: list[tuple[str, int]]) -> None:
    """Chunks together are the table; each stays below the bound, only the last is marked, and all bear one nonce."""
    table = Table(Resource(kind="route", name=name, body=b"x" * size) for name, size in sizes)
    snapshot = Snapshot("e", 7, table)
    parts = snapshot.full()
    chunks = [message.snapshot for message in decoded(parts.messages)]
    assert Table(resource for chunk in chunks for resource in chunk.resources) == table
    assert [chunk.chunk for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert {(chunk.revision, chunk.nonce, chunk.digest) for chunk in chunks} == {(7, parts.nonce, table.digest)}
    assert all(len(message) < MESSAGE_BYTES + 1000 for message in parts.messages)


def test_a_base_that_is_not_known_has_no_delta() -> None:
    """Another digest, a revision that never was, or the revision itself: all need a snapshot or nothing."""
    one, two = follow([Table(), Table([Resource(kind="route", name="a")])])
    assert two.delta(1, one.digest) is not None
    assert two.delta(1, b"x" * 16) is None
    assert two.delta(9, one.digest) is None
    assert two.delta(2, two.digest) is None
    assert two.contradicts(1, b"x" * 16)
    assert not two.contradicts(1, one.digest)
    assert not two.contradicts(9, bytes(16))


def test_a_delta_too_large_for_a_message_is_none() -> None:
    """When nearly everything changed, chunks of a snapshot are the better way."""
    big = [Resource(kind="route", name=str(number), body=b"x" * 200_000) for number in range(8)]
    one, two = follow([Table(), Table(big)])
    assert two.delta(1, one.digest) is None


def test_another_epoch_forgets_the_history() -> None:
    """Revisions of another store are no bases."""
    one = Snapshot("e", 1, Table())
    other = one.followed_by("f", 2, Table([Resource(kind="route", name="a")]))
    assert other.delta(1, one.digest) is None


def test_history_is_bounded() -> None:
    """A node that is further behind than what is remembered gets everything."""
    tables = [Table([Resource(kind="route", name="a", body=b"%d" % number)]) for number in range(REMEMBERED + 2)]
    snapshots = follow(tables)
    assert snapshots[-1].delta(1, snapshots[0].digest) is None
    assert snapshots[-1].delta(2, snapshots[1].digest) is not None


def test_everything_is_encoded_once() -> None:
    """Asking again gives the same bytes, and costs no encoding."""
    one, two = follow([Table(), Table([Resource(kind="route", name="a")])])
    assert two.full() is two.full()
    assert two.delta(1, one.digest) is two.delta(1, one.digest)
    assert two.encoded == 2


def test_oversize_names_what_no_message_carries() -> None:
    """A resource larger than a message is found before it is committed."""
    table = Table([Resource(kind="route", name="a"), Resource(kind="route", name="b", body=b"x" * MESSAGE_BYTES)])
    assert [key for key, _ in oversize(table)] == [("route", "b")]
