"""Durations and sizes: writing and reading are inverse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared import quantities

COUNTS = st.integers(0, 2**40)


@given(COUNTS)
def test_a_duration_that_is_written_reads_back(milliseconds: int) -> None:
    """Exact at every magnitude."""
    assert quantities.duration(quantities.format_duration(milliseconds)) == milliseconds


@given(COUNTS)
def test_a_size_that_is_written_reads_back(count: int) -> None:
    """Exact at every magnitude, and a bare number in quotes is bytes."""
    assert quantities.size(quantities.format_size(count)) == count
    assert quantities.size(str(count)) == count


@given(st.text() | st.integers() | st.integers(10**305, 10**310) | st.floats() | st.none() | st.booleans())
def test_anything_is_a_quantity_or_a_value_error(value: object) -> None:
    """No other exception leaves the parsers, and amounts are never negative."""
    for read in (quantities.duration, quantities.seconds, quantities.size):
        try:
            assert read(value) >= 0
        except ValueError as error:
            assert "expected" in str(error)
    try:
        assert isinstance(quantities.percent(value), float)
    except ValueError as error:
        assert "expected" in str(error)
