"""What follows a table from one revision to the next finds what looking at all of it would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.catalogue import Catalogue
from controlplane.store import Committed
from shared.pb.resources_pb2 import Resource, Route
from shared.table import Key, Table, pack

NAMES = st.sampled_from("abcdefgh")
EDITS = st.lists(
    st.tuples(st.dictionaries(NAMES, st.tuples(st.booleans(), st.integers(1, 3))), st.sets(NAMES)), max_size=6
)


def route(name: str, numbered: bool, timeout: int) -> Resource:
    """A route with an id of its own, or with none, as in a file."""
    number = ord(name) if numbered else 0
    return pack("route", name, Route(name=name, id=number, path=f"/{timeout}"))


@given(EDITS)
def test_a_change_is_found_where_it_was_made(edits: list[tuple[dict[str, tuple[bool, int]], set[str]]]) -> None:
    """`since` finds the same between a table and the one it was made of as between equal ones that were made apart."""
    table = Table()
    for upserts, removes in edits:
        made = table.changed([route(name, *one) for name, one in upserts.items()], [("route", one) for one in removes])
        quick, slow = made.since(table), Table(made.values()).since(Table(table.values()))
        assert _found(quick) == _found(slow)
        assert made.digest == Table(made.values()).digest
        assert table.changed(*quick).digest == made.digest
        table = made


@given(EDITS)
def test_lists_that_are_edited_are_those_made_anew(edits: list[tuple[dict[str, tuple[bool, int]], set[str]]]) -> None:
    """A catalogue that moved along with a table lists and finds what a new one does."""
    table, moving = Table(), Catalogue()
    for upserts, removes in edits:
        gone = [("route", name) for name in removes - set(upserts)]  # else it would only move to another place
        table = table.changed([route(name, *one) for name, one in upserts.items()], gone)
        committed = Committed("e", 1, table)
        assert moving.part(committed, "route", after=0, limit=100) == Catalogue().part(
            committed, "route", after=0, limit=100
        )
        for name in "abcdefgh":
            assert moving.find(committed, "route", name) == Catalogue().find(committed, "route", name)
            number = str(ord(name))
            assert moving.find(committed, "route", number) == Catalogue().find(committed, "route", number)


def _found(changes: tuple[list[Resource], list[Key]]) -> tuple[dict[str, bytes], set[Key]]:
    upserts, removes = changes
    return {resource.name: resource.body for resource in upserts}, set(removes)
