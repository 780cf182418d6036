"""Durations, sizes and percentages as operators write them: "30s", "10mb", "50%".

A duration is kept as whole milliseconds, a size as whole bytes (kb, mb, gb and tb are powers of 1024, and kib, mib, …
are the same), a percentage as a number from 0 to 100. Every parser raises ValueError with the sentence to show.
"""

from __future__ import annotations

import re
from fractions import Fraction

_DURATIONS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZES = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}
# Bounded on each side of the point (64-bit numbers have 19 digits): exact products stay small, whatever a file says.
_QUANTITY = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)[ ]?([A-Za-z%]*)")


def duration(value: object) -> int:
    """Milliseconds of 1500, "1500ms", "1.5s", "2m", "1h" or "1d"."""
    return _whole(value, _DURATIONS, "a number of milliseconds or a duration such as 30s", bare=False)


def seconds(value: object) -> int:
    """Seconds of 300 or "5m"; for the few fields that the contract counts in seconds."""
    wanted = "a number of seconds or a duration such as 5m"
    if isinstance(value, int):
        return _whole(value, {}, wanted, bare=False)
    milliseconds = _whole(value, _DURATIONS, wanted, bare=False)
    if milliseconds % 1_000:
        raise ValueError(f"expected whole seconds, got {value!r}")
    return milliseconds // 1_000


def size(value: object) -> int:
    """Bytes of 4096, "4096", "512b", "8kb", "10mb", "1.5gb"; units are powers of 1024."""
    return _whole(value, _SIZES, "a number of bytes or a size such as 10mb", bare=True)


def percent(value: object) -> float:
    """50.0 of 50, 50.0 or "50%"."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] != "%":
        raise ValueError(f"expected a percentage such as 50 or 50%, got {value!r}")
    return float(match[1])


def format_duration(milliseconds: int) -> str:
    """The shortest exact form: 30000 is "30s"."""
    return _format(milliseconds, _DURATIONS)


def format_size(count: int) -> str:
    """The shortest exact form: 10485760 is "10mb"."""
    return _format(count, _SIZES)


def _whole(value: object, units: dict[str, int], wanted: str, *, bare: bool) -> int:
    """A non-negative whole number, or text with one of `units` (`bare`: text without a unit counts too)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"expected {wanted}, got {value}: it cannot be negative")
        return value
    if isinstance(value, float) and value.is_integer() and value >= 0:
        return int(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    # "kib" and "kb" are the same here.
    suffix = match[2].lower().replace("ib", "b") if match else ""
    unit = 1 if match and bare and not suffix else units.get(suffix, 0)
    if match is None or not unit:
        hint = f"; units are {', '.join(units)}" if match and units else ""
        raise ValueError(f"expected {wanted}, got {value!r}{hint}")
    exact = Fraction(match[1]) * unit
    if exact.denominator != 1:
        smallest = next(iter(units))
        raise ValueError(f"expected {wanted}, got {value!r}: that is not a whole number of {smallest}")
    return int(exact)


def _format(amount: int, units: dict[str, int]) -> str:
    name, unit = max(((n, u) for n, u in units.items() if amount % u == 0 and amount >= u), default=("", 0), key=_scale)
    return f"{amount // unit}{name}" if unit else f"{amount}{next(iter(units))}"


def _scale(unit: tuple[str, int]) -> int:
    return unit[1]
