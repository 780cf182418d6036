"""Watching a file: the test is the clock, and changes the file between two looks of the watcher."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from shared.watch import changes

DEADLINE = 5.0
Step = Callable[[], object]


class Clock:
    """Each sleep of the watcher runs the next step of a script; after the last one the watcher never wakes up."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps: Iterator[Step] = iter(steps)
        self.slept: list[float] = []
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        step = next(self._steps, None)
        if step is None:
            self.over.set()
            await asyncio.Event().wait()
        else:
            step()


async def told(path: Path, steps: list[Step]) -> tuple[list[int], list[float]]:
    """After how many sleeps each change was told, and how long each sleep was."""
    clock = Clock(steps)
    seen: list[int] = []

    async def listen(events: AsyncIterator[None]) -> None:
        async for _ in events:
            seen.append(len(clock.slept))  # noqa: PERF401  # one at a time: the loop never ends by itself

    task = asyncio.create_task(listen(changes(path, interval=5.0, debounce=2.0, longest=10.0, sleep=clock.sleep)))
    await asyncio.wait_for(clock.over.wait(), DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return seen, clock.slept


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds "one"."""
    file = tmp_path / "proxy.yml"
    file.write_text("one")
    return file


def nothing() -> None:
    """A step in which the file stays as it is."""


async def test_a_change_is_told_once_it_is_quiet(path: Path) -> None:
    """Looked at after the interval, told after the debounce, and not again."""
    seen, slept = await told(path, [lambda: path.write_text("two"), nothing, nothing])
    assert seen == [2]
    assert slept == [5.0, 2.0, 5.0, 5.0]


async def test_a_file_that_goes_on_changing_is_waited_for(path: Path) -> None:
    """Each new content starts the quiet time anew: one change, not three."""
    steps: list[Step] = [lambda: path.write_text("two"), lambda: path.write_text("three"), lambda: path.write_text("4")]
    seen, slept = await told(path, [*steps, nothing, nothing])
    assert seen == [4]
    assert slept[:4] == [5.0, 2.0, 2.0, 2.0]


async def test_a_file_that_never_rests_is_told_of_all_the_same(path: Path) -> None:
    """After the longest time, so that endless edits do not keep the newest from ever being served."""
    steps: list[Step] = [lambda n=n: path.write_text(str(n)) for n in range(9)]  # type: ignore[misc]  # default binds
    seen, _ = await told(path, steps)
    assert seen[:1] == [6]


async def test_touching_is_no_change(path: Path) -> None:
    """The content counts, not its time; and an edit that is undone before it was told is none either."""
    steps: list[Step] = [
        lambda: os.utime(path, (1, 1)),
        lambda: path.write_text("two"),
        lambda: path.write_text("one"),
        nothing,
    ]
    assert (await told(path, steps))[0] == []


async def test_a_file_that_vanishes_for_a_moment(path: Path) -> None:
    """Gone is no change; back with the same content is none; back with another one is."""
    steps: list[Step] = [
        path.unlink,
        lambda: path.write_text("one"),
        path.unlink,
        lambda: path.write_text("two"),
        nothing,
    ]
    assert (await told(path, steps))[0] == [5]


async def test_a_swapped_symlink_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes updates a mounted ConfigMap: the directory behind a link is exchanged."""
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "proxy.yml").write_text(name)
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "proxy.yml").symlink_to("data/proxy.yml")

    def swap() -> None:
        (tmp_path / "new").symlink_to("v2")
        (tmp_path / "new").rename(tmp_path / "data")

    assert (await told(tmp_path / "proxy.yml", [swap, nothing]))[0] == [2]


async def test_an_edit_before_the_first_look_is_told(path: Path) -> None:
    """What the file held at the call counts, so an edit between reading and watching is not lost."""
    events = changes(path, interval=0.0, debounce=0.0)
    await asyncio.to_thread(path.write_text, "two")
    await asyncio.wait_for(anext(events), DEADLINE)


async def test_a_file_that_appears_is_told(tmp_path: Path) -> None:
    """The file may be missing at the start."""
    path = tmp_path / "late.yml"
    assert (await told(path, [nothing, lambda: path.write_text("one"), nothing]))[0] == [3]
