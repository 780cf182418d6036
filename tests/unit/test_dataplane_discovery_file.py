"""A data plane alone: the file it serves, and its edits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from dataplane.file_source import FileSource
from dataplane.settings import Settings
from shared.faults import ConfigError
from shared.watch import changes
from tests.integration.stream_target import NotingTarget

HEAD = "upstreams: [{name: u, url: 'http://localhost:1'}]\n"
GOOD = HEAD + "routes:\n  - {path: /a, upstream: u}\n"
BETTER = GOOD + "  - {path: /b, upstream: u}\n"
BAD = GOOD + "  - {path: /b, upstrem: u}\n"


class Edits:
    """A file, and the news that it was edited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._news: asyncio.Queue[None] = asyncio.Queue()
        self._dealt = asyncio.Event()

    async def write(self, text: str) -> None:
        """Edit, tell, and wait until it was dealt with."""
        await self.dealt_with()
        self.path.write_text(text)
        self._dealt.clear()
        self._news.put_nowait(None)
        await self.dealt_with()

    async def dealt_with(self) -> None:
        async with asyncio.timeout(5):
            await self._dealt.wait()

    async def changes(self, path: Path) -> AsyncIterator[None]:
        assert path == self.path
        while True:
            self._dealt.set()  # we are asked for the next: the one before is done with
            await self._news.get()
            yield


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def write_good(path: Path) -> Edits:
    """The file as it is at boot."""
    path.write_text(GOOD)
    return Edits(path)


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[tuple[FileSource, NotingTarget, Edits, Clock]]:
    """A source that serves a good file and follows it."""
    target, edits, clock = NotingTarget(), write_good(path), Clock()
    source = FileSource(Settings(config=path), target, changes=edits.changes, clock=clock)
    source.boot()
    task = asyncio.create_task(source.run())
    try:
        yield source, target, edits, clock
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()


def test_a_bad_file_does_not_boot(tmp_path: Path) -> None:
    """All faults, with their lines; nothing is served."""
    path, target = tmp_path / "proxy.yml", NotingTarget()
    path.write_text(BAD)
    with pytest.raises(ConfigError, match=r"line 4: .*upstrem"):
        FileSource(Settings(config=path), target).boot()
    assert target.table is None
    with pytest.raises(ConfigError, match="no such file"):
        FileSource(Settings(config=tmp_path / "gone.yml"), target).boot()


async def test_edits_count_up(tmp_path: Path) -> None:
    """Each edit that changes something is the next revision, from 1; a comment is none."""
    async with following(tmp_path / "proxy.yml") as (source, target, edits, _):
        assert (source.status.source, source.status.revision) == ("file", 1)
        await edits.write(BETTER)
        await edits.write(BETTER + "# a comment\n")
        await edits.write(GOOD)
        assert target.applied == [1, 2, 3]
        assert (source.status.revision, source.status.age_seconds, source.status.last_error) == (3, 0.0, "")


async def test_a_bad_edit_is_told_and_the_old_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """File, line, path and suggestion in the log and the status; its age grows until it is mended."""
    async with following(tmp_path / "proxy.yml") as (source, target, edits, clock):
        with caplog.at_level(logging.WARNING):
            await edits.write(BAD)
        said = f"{tmp_path}/proxy.yml: line 4: routes[1].upstrem: unknown key; did you mean upstream?"
        [record] = [record for record in caplog.records if record.getMessage() == "config.rejected"]
        assert record.__dict__["fields"]["faults"][0] == said
        assert source.status.last_error == said
        clock.now += 60
        assert (target.applied, source.status.revision, source.status.age_seconds) == ([1], 1, 60.0)
        await edits.write(BETTER)
        assert (target.applied, source.status.age_seconds, source.status.last_error) == ([1, 2], 0.0, "")


async def test_an_edit_that_only_the_target_refuses_is_told_too(tmp_path: Path) -> None:
    """What compile does not accept keeps the old as well, and is counted."""
    async with following(tmp_path / "proxy.yml") as (source, target, edits, _):
        await edits.write(GOOD + "  - {path: /b, upstream: u, name: bad}\n")
        assert (target.applied, source.status.apply_failures) == ([1], 1)
        assert "there is no such upstream" in source.status.last_error


async def test_an_edit_between_boot_and_following_is_not_lost(tmp_path: Path) -> None:
    """Edits count from before the file was read at boot; what did not change since is not read again."""
    path, target = tmp_path / "proxy.yml", NotingTarget()
    path.write_text(GOOD)
    source = FileSource(Settings(config=path), target, changes=partial(changes, interval=0.01, debounce=0.01))
    source.boot()
    path.write_text(BETTER)
    task = asyncio.create_task(source.run())
    await target.bell.until(lambda: target.revision == 2, "the edit")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
