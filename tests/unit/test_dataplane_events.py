"""Events of a node: told once in a while, however often they happen and however many subjects an attacker makes up."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from dataplane.events import KEPT, MOST_AT_ONCE, MOST_SUBJECTS, OTHERS, QUIET_SECONDS, Events


class Times:
    """Both clocks, moved by the test."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.epoch = 1_000_000.0

    def events(self) -> Events:
        return Events(lambda: self.epoch, lambda: self.monotonic)


def told(events: Events) -> list[tuple[str, int]]:
    """(subject, times) of all that are kept."""
    return [(event.data["subject"], event.data["times"]) for event in events.recent]


def test_a_subject_is_told_at_once_and_then_now_and_then() -> None:
    """The first time immediately; what follows within ten seconds as one, with its count and the newest data."""
    times = Times()
    events = times.events()
    for number in range(5):
        events.often("rate_limit.exceeded", "r", number=number)
    assert told(events) == [("r", 1)]
    events.settle()
    assert told(events) == [("r", 1)]
    times.monotonic += QUIET_SECONDS
    events.settle()
    assert told(events) == [("r", 1), ("r", 4)]
    assert events.recent[-1].data["number"] == 4


def test_after_a_quiet_time_it_is_told_at_once_again() -> None:
    """A subject of which nothing was heard is forgotten."""
    times = Times()
    events = times.events()
    events.often("auth.failure", "missing")
    times.monotonic += QUIET_SECONDS
    events.settle()
    events.often("auth.failure", "missing")
    assert told(events) == [("missing", 1), ("missing", 1)]


def test_wall_clocks_that_jump_change_nothing() -> None:
    """Set back by a day, forth by a year: the quiet time is as long as it is, and events tell the wall's time."""
    times = Times()
    events = times.events()
    for jump in (-86_400.0, 365 * 86_400.0):
        times.epoch += jump
        events.often("auth.failure", "missing")
        events.settle()
    assert told(events) == [("missing", 1)]
    times.monotonic += QUIET_SECONDS
    events.settle()
    assert (told(events)[-1], events.recent[-1].at) == (("missing", 1), times.epoch)


def test_a_million_subjects_cost_a_bounded_number_of_events() -> None:
    """A hundred are told apart, the rest as one; memory does not grow with them, and nothing goes uncounted."""
    times = Times()
    events = times.events()
    for number in range(200):
        events.often("rate_limit.exceeded", f"warm-{number}")
    tracemalloc.start()
    for number in range(1_000_000):
        events.often("rate_limit.exceeded", f"key-{number}", key=number)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1 << 20
    assert events.emitted == MOST_SUBJECTS + 1
    times.monotonic += QUIET_SECONDS
    events.settle()
    assert told(events)[-1] == (OTHERS, 1_000_000 + 200 - MOST_SUBJECTS - 1)


def test_one_name_does_not_silence_another() -> None:
    """Subjects are bounded for each name by itself."""
    events = Times().events()
    for number in range(2 * MOST_SUBJECTS):
        events.often("rate_limit.exceeded", str(number))
    events.often("auth.failure", "missing")
    assert told(events)[-1] == ("missing", 1)


def test_what_is_left_is_told_at_the_end() -> None:
    """Quiet times are cut short when the process stops."""
    events = Times().events()
    for _ in range(3):
        events.often("request.error", "r")
    events.settle(all_of_it=True)
    assert told(events) == [("r", 1), ("r", 2)]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 150), st.floats(0, 15))))
def test_every_time_is_told_exactly_once(happenings: list[tuple[str, int, float]]) -> None:
    """Over all events of a name, `times` adds up to what happened; numbers go up by one."""
    times = Times()
    events = times.events()
    for name, subject, seconds in happenings:
        events.often(name, str(subject))
        times.monotonic += seconds
        events.settle()
    events.settle(all_of_it=True)
    for name in ("a", "b"):
        counted = sum(event.data["times"] for event in events.recent if event.name == name)
        assert counted == sum(found == name for found, _, _ in happenings)
    assert [event.number for event in events.recent] == list(range(1, events.emitted + 1))


def test_what_does_not_stop_is_told_by_its_number() -> None:
    """A queue that swings around its threshold, endpoints that flap: so many are told each, the rest as one."""
    times = Times()
    events = times.events()
    for number in range(10_000):
        events.emit("overload.began", waiting=number)
    events.emit("upstream.failure")
    assert events.counts == {"overload.began": MOST_AT_ONCE, "upstream.failure": 1}
    times.monotonic += QUIET_SECONDS
    events.settle()
    rest = {"subject": OTHERS, "times": 10_000 - MOST_AT_ONCE, "waiting": 9_999}
    assert events.recent[-1].data == rest
    events.emit("overload.began", waiting=1)
    assert events.recent[-1].data == {"waiting": 1}


def test_the_newest_are_kept() -> None:
    """A thousand; `after` gives those that are newer than a number, as far as they are still there."""
    events = Times().events()
    assert events.after(0) == []
    for number in range(KEPT + 5):
        events.emit(("a", "b", "c")[number % 3])
    assert [event.number for event in events.after(KEPT)] == list(range(KEPT + 1, KEPT + 6))
    assert [events.after(0)[0].number, len(events.after(0)), events.after(KEPT + 5)] == [6, KEPT, []]
    assert events.counts == {"a": 335, "b": 335, "c": 335}
