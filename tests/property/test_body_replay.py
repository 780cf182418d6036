"""Request bodies that may be read once more: whatever was taken comes again, in order, or it is known to be gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.http1.body import KEPT, Body

moves = st.lists(st.one_of(st.integers(1, 30_000), st.sampled_from(["take", "rewind"])), max_size=40)


@settings(deadline=None)
@given(moves)
def test_a_kept_body_reads_the_same_again(played: list[int | str]) -> None:
    """However feeding, taking and rewinding are mixed: all attempts read a beginning of the same bytes."""
    body, fed, read = Body(None), b"", b""
    body.keep()
    for number, move in enumerate(played):
        if isinstance(move, int):
            data = bytes([number]) * move
            fed += data
            body.feed(data)
        elif move == "take":
            read += b"".join(body.take())
            assert read == fed
            assert not body.keeping or len(read) <= KEPT
        elif body.keeping:
            assert len(read) <= KEPT
            body.rewind()
            body.keep()
            read = b""
    if body.keeping:
        body.rewind()
        read = b""
    assert read + b"".join(body.take()) == fed


@pytest.mark.parametrize("spend", [Body.take, Body.discard, Body.forget])
def test_what_went_by_cannot_be_kept_any_more(spend: Callable[[Body], object]) -> None:
    """Beyond the cap, after the rest was dropped, and once it was decided: keeping it then would keep half."""
    body = Body(None)
    body.keep()
    body.feed(b"x" * (KEPT + 1))
    spend(body)
    assert not body.keeping
    body.keep()
    assert not body.keeping
