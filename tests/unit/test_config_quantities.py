"""Durations, sizes and percentages as operators write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared import quantities


@pytest.mark.parametrize(
    ("read", "written", "value"),
    [
        (quantities.duration, 1500, 1500),
        (quantities.duration, 1500.0, 1500),
        (quantities.duration, "1500ms", 1500),
        (quantities.duration, "1.5s", 1500),
        (quantities.duration, "30 s", 30_000),
        (quantities.duration, "2M", 120_000),
        (quantities.duration, "1h", 3_600_000),
        (quantities.duration, "1d", 86_400_000),
        (quantities.seconds, 300, 300),
        (quantities.seconds, "5m", 300),
        (quantities.size, "10mb", 10 * 1024 * 1024),
        (quantities.size, "8KB", 8192),
        (quantities.size, "8kib", 8192),
        (quantities.size, "512", 512),
        (quantities.size, "1.5gb", 3 * 512 * 1024 * 1024),
        (quantities.percent, "50%", 50.0),
        (quantities.percent, 12.5, 12.5),
    ],
)
def test_quantities_are_read(read: Callable[[object], float], written: object, value: float) -> None:
    """Every documented form means its value; sizes are powers of 1024."""
    assert read(written) == value


@pytest.mark.parametrize(
    "written", ["abc", "30", "30x", "-5s", "", "1e3ms", "1.0005s", "9" * 40 + "s", True, None, [], -1]
)
def test_odd_durations_are_refused(written: object) -> None:
    """Text without a unit, other units, negative and uneven durations: the message shows the form that is wanted."""
    with pytest.raises(ValueError, match="a number of milliseconds or a duration such as 30s"):
        quantities.duration(written)


@pytest.mark.parametrize("written", ["10mbb", "0.3b", "ten", "10 %", {}, -1, False])
def test_odd_sizes_are_refused(written: object) -> None:
    """What is no size says what one looks like."""
    with pytest.raises(ValueError, match="a number of bytes or a size such as 10mb"):
        quantities.size(written)


@pytest.mark.parametrize("written", ["50", "%", "half", True, None])
def test_odd_percentages_are_refused(written: object) -> None:
    """A number in quotes needs its percent sign."""
    with pytest.raises(ValueError, match="a percentage such as 50 or 50%"):
        quantities.percent(written)


def test_formats_are_the_shortest_exact() -> None:
    """Formatting takes the largest unit that divides."""
    assert quantities.format_duration(90_000) == "90s"
    assert quantities.format_duration(60_000) == "1m"
    assert quantities.format_duration(0) == "0ms"
    assert quantities.format_size(10 << 20) == "10mb"
    assert quantities.format_size(1025) == "1025b"
