"""What is written well and means nothing: warnings, with their paths."""

from __future__ import annotations

import pytest

from shared.document import read


def warned(text: str) -> list[str]:
    """The paths of the warnings about a text."""
    return [warning.path for warning in read(text).warnings]


LOW = "backpressure: {maxQueueSize: 9, thresholds: [{queueSize: %d, action: %s}]}\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (LOW % (10, "reject_all"), "backpressure.thresholds[0].queueSize"),
        (LOW % (9, "reject_low_priority"), "backpressure.thresholds[0].action"),
        (
            LOW % (9, "reject_low_priority") + "priorities: [{name: default, weight: 5}]\n",
            "backpressure.thresholds[0].action",
        ),
    ],
)
def test_thresholds_without_effect_are_told(text: str, path: str) -> None:
    """One that lies beyond the queue, and one that would refuse a lower class where there is only one."""
    assert warned(text) == [path]


def test_thresholds_with_an_effect_are_not_told() -> None:
    """Two priorities are two classes: the default counts."""
    assert warned(LOW % (9, "reject_low_priority") + "priorities: [{name: high, weight: 5}]\n") == []
