"""Rules of the API: merge patches, pages, and that what is read can be written back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from controlplane.catalogue import Catalogue
from controlplane.editing import put
from controlplane.merge import merged
from controlplane.shapes import shown
from controlplane.store import Committed
from shared.document import read
from shared.pb.resources_pb2 import Consumer
from shared.table import Table, pack, table_of, unpack
from shared.yaml_dump import dump
from tests.property.config_documents import documents

SCALARS = st.none() | st.booleans() | st.integers(0, 9) | st.text("ab", max_size=2)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_as_the_rfc_has_it(target: Any, patch: Any, result: Any) -> None:
    """The table of RFC 7396, appendix A."""
    assert merged(target, patch) == result


@given(JSON, JSON)
def test_a_merge_patch_twice_is_once(target: Any, patch: Any) -> None:
    """What a patch did, it does not do again; what it names has its value; neither side is changed."""
    before = copy.deepcopy((target, patch))
    once = merged(target, patch)
    assert merged(once, patch) == once
    assert (target, patch) == before
    if isinstance(patch, dict):
        for name, value in patch.items():
            assert (name not in once) if value is None else (name in once)


@given(st.data())
def test_what_stays_is_seen_exactly_once(data: st.DataObject) -> None:
    """Pages behind each other show every resource that was there all the time once, whatever is written between."""
    numbers = data.draw(st.sets(st.integers(1, 60), max_size=30))
    limit, last = data.draw(st.integers(1, 7)), 100
    table = Table(_consumer(number) for number in numbers)
    catalogue, seen, after, stayed = Catalogue(), list[int](), 0, set(numbers)
    while True:
        part = catalogue.part(Committed("e", 1, table), "consumer", after=after, limit=limit)
        seen += [entry.id for entry in part.entries]
        after = part.after
        if not after:
            break
        gone = data.draw(st.sets(st.sampled_from(sorted(numbers)), max_size=3))
        stayed -= gone
        new = last if data.draw(st.booleans()) and last < 110 else 0
        last += bool(new)
        table = table.changed([_consumer(new)] if new else [], [("consumer", f"c{number}") for number in gone])
    assert len(seen) == len(set(seen))
    assert stayed <= set(seen)
    assert seen == sorted(seen)


@given(st.sets(st.integers(1, 40), min_size=1), st.integers(1, 40))
def test_a_resource_is_found_by_id_and_by_name(numbers: set[int], wanted: int) -> None:
    """Exactly those that are there."""
    committed, catalogue = Committed("e", 1, Table(_consumer(number) for number in numbers)), Catalogue()
    for word in (str(wanted), f"c{wanted}"):
        found = catalogue.find(committed, "consumer", word)
        assert (found.id if found else None) == (wanted if wanted in numbers else None)


@given(documents())
def test_what_is_read_can_be_written_back(document: Any) -> None:
    """A put of what a get shows is the very resource, whatever the configuration."""
    table = table_of(read(dump(document)).config)
    for key, resource in table.items():
        edit = put(*key, shown(resource, table), table)
        assert edit.faults == []
        message: Message = edit.changes[0].message  # type: ignore[union-attr]  # a put
        assert pack(*key, message) == resource or message == unpack(resource)
        assert len(edit.changes) == 1


def _consumer(number: int) -> Any:
    return pack("consumer", f"c{number}", Consumer(id=number, name=f"c{number}"))
