"""Boot from what is kept, the boot-loop guard, and what is kept when."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.boot import Booted, boot
from dataplane.boot_guard import FILE, BootGuard
from dataplane.config_source import Held
from dataplane.keeper import PATIENCE, Keeper
from dataplane.last_known_good import Generation, LastKnownGood
from dataplane.serving import Serving
from shared.faults import ConfigError
from tests.integration.stream_target import NotingTarget, names, table
from tests.support.deadline import DEADLINE

KEY = bytes(32)
DIGEST = table("a").digest


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Process:
    """A data-plane process as the disk sees it: everything made anew, over the same directory."""

    def __init__(self, directory: Path, *, trust_after: float = 10.0, version: str = "1") -> None:
        self.clock = Clock()
        self.target = NotingTarget()
        self.cache = LastKnownGood(directory, KEY)
        self.guard = BootGuard(directory, version)
        self.serving = Serving(self.target, self.guard, clock=self.clock)
        self.keeper = Keeper(self.serving, self.cache, self.guard, trust_after, clock=self.clock)

    def boot(self, seed: Path | None = None) -> Booted:
        booted = boot(self.serving, self.cache, self.guard, seed=seed, key=KEY)
        if booted.generation is not None:
            self.keeper.booted(booted.generation.held)
        return booted

    def receive(self, revision: int, *routes: str) -> None:
        """A revision comes over the stream and is served."""
        self.serving.offer(Held(table(*routes), revision, "e"), "stream")
        self.keeper.applied()

    async def serve_for(self, seconds: float) -> None:
        self.clock.now += seconds
        await self.keeper.keep()

    def kept(self) -> list[int]:
        return [one.held.revision for one in self.cache.read() if isinstance(one, Generation)]


# ---- the guard


def test_two_deaths_and_a_table_is_refused(tmp_path: Path) -> None:
    """A table that was on trial when the process died, twice, is not tried a third time."""
    for died in range(2):
        guard = BootGuard(tmp_path, "1")
        assert (guard.deaths(DIGEST), guard.refuses(DIGEST)) == (died, False)
        guard.trying(DIGEST)
    assert BootGuard(tmp_path, "1").refuses(DIGEST)
    assert not BootGuard(tmp_path, "1").refuses(table("b").digest)


def test_ending_in_order_is_no_death(tmp_path: Path) -> None:
    """A restart that was asked for, however soon, counts for nothing; nor does what is tried while ending."""
    for _ in range(5):
        guard = BootGuard(tmp_path, "1")
        guard.trying(DIGEST)
        guard.stopped()
        guard.trying(table("b").digest)
        guard.refused()
    assert BootGuard(tmp_path, "1").deaths(DIGEST) == 0
    assert BootGuard(tmp_path, "1").deaths(table("b").digest) == 0


def test_a_refused_table_gives_the_trial_back(tmp_path: Path) -> None:
    """The one that serves is still the one that the process would die of."""
    guard = BootGuard(tmp_path, "1")
    guard.trying(DIGEST)
    guard.trying(table("b").digest)
    guard.refused()
    assert BootGuard(tmp_path, "1").deaths(DIGEST) == 1


def test_an_upgrade_gives_every_table_another_chance(tmp_path: Path) -> None:
    """Deaths are those of one version of the program."""
    for _ in range(2):
        BootGuard(tmp_path, "1").trying(DIGEST)
    assert not BootGuard(tmp_path, "2").refuses(DIGEST)


def blocked(directory: Path) -> Callable[[], None]:
    """A disk that hangs, as the guard sees it; call the result to let it go on: what was written is lost then."""
    fifo = (directory / FILE).with_suffix(".tmp")
    os.mkfifo(fifo)  # opening it waits for somebody who reads

    def let_go() -> None:
        aside = fifo.rename(directory / "aside")  # or it would become the record
        os.close(os.open(aside, os.O_RDONLY | os.O_NONBLOCK))

    return let_go


async def test_a_table_waits_for_its_record_and_nothing_else_does(tmp_path: Path) -> None:
    """While traffic is served the loop goes on; the table is expected once that is on disk, and not before."""
    guard = BootGuard(tmp_path, "1")
    guard.serving()
    let_go = blocked(tmp_path)
    expecting = asyncio.create_task(guard.expect(DIGEST))
    guard.survived(table("b").digest, newest=True)
    await asyncio.sleep(0)
    assert not expecting.done()
    let_go()
    async with asyncio.timeout(DEADLINE):
        await expecting
        await guard.expect(DIGEST)
    guard.trying(DIGEST)
    assert BootGuard(tmp_path, "1").deaths(DIGEST) == 1


async def test_a_disk_that_hangs_is_waited_for_so_long(tmp_path: Path) -> None:
    """Then the table is taken all the same, and that is told."""
    guard = BootGuard(tmp_path, "1", patience=0.01)
    guard.serving()
    let_go = blocked(tmp_path)
    async with asyncio.timeout(DEADLINE):
        await guard.expect(DIGEST)
    let_go()


async def test_what_never_came_is_not_on_trial(tmp_path: Path) -> None:
    """The stream ended while the disk was waited for: the table before it is on trial as it was."""
    guard = BootGuard(tmp_path, "1")
    guard.trying(DIGEST)
    guard.serving()
    let_go = blocked(tmp_path)
    expecting = asyncio.create_task(guard.expect(table("b").digest))
    await asyncio.sleep(0)
    expecting.cancel()
    await asyncio.wait([expecting])
    assert f"trial={DIGEST.hex()!r}" in repr(guard)
    let_go()


@given(content=st.binary(max_size=60) | st.sampled_from([b"[]", b'{"version": "1"}', b'{"version":"1","deaths":[1]}']))
def test_a_damaged_record_is_no_record(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever stands in the guard's file, the process starts."""
    directory = tmp_path_factory.mktemp("guard")
    (directory / FILE).write_bytes(content)
    assert BootGuard(directory, "1").deaths(DIGEST) == 0


# ---- boot


async def test_a_node_boots_from_the_newest_kept_revision(tmp_path: Path) -> None:
    """What served well before the restart serves again, at its revision."""
    first = Process(tmp_path)
    first.receive(5, "a", "b")
    await first.serve_for(10)
    second = Process(tmp_path)
    second.boot()
    assert (second.target.revision, names(second.target.table or table())) == (5, {"a", "b"})
    assert second.serving.served is not None
    assert second.serving.served.origin == "cache"


async def test_a_boot_loop_falls_back_one_generation(tmp_path: Path) -> None:
    """A kept revision that ends the process at boot is passed over at the third boot, and that is told."""
    first = Process(tmp_path)
    for revision in (1, 2):
        first.receive(revision, f"r{revision}")
        await first.serve_for(10)
    for _ in range(2):
        assert Process(tmp_path).boot().fallback == ""  # and it dies
    third = Process(tmp_path)
    booted = third.boot()
    assert third.target.revision == 1
    assert "revision 2 twice ended this process" in booted.fallback


async def test_a_poisonous_revision_is_not_taken_from_the_stream_again(tmp_path: Path) -> None:
    """A revision that twice ended the process soon after it came is refused, so that the node stays up."""
    first = Process(tmp_path)
    first.receive(1, "a")
    await first.serve_for(10)
    for _ in range(2):
        process = Process(tmp_path)
        process.boot()
        process.receive(2, "poison")  # and it dies
    survivor = Process(tmp_path)
    survivor.boot()
    with pytest.raises(ConfigError, match="revision 2 ended this process 2 times"):
        survivor.receive(2, "poison")
    assert survivor.target.revision == 1
    survivor.receive(3, "cure")
    assert survivor.target.revision == 3


async def test_a_newer_revision_that_serves_well_clears_the_record(tmp_path: Path) -> None:
    """Once something newer is proved, what died before may come back."""
    for _ in range(2):
        BootGuard(tmp_path, "1").trying(table("a").digest)
    process = Process(tmp_path)
    process.receive(2, "b")
    await process.serve_for(10)
    process.receive(3, "a")
    assert process.target.revision == 3


def test_with_nothing_else_left_a_suspect_is_tried(tmp_path: Path) -> None:
    """The only generation there is serves even after two deaths: none at all would serve nobody."""
    Process(tmp_path).cache.save(Held(table("a"), 1, "e"))
    for _ in range(3):
        process = Process(tmp_path)
        booted = process.boot()
    assert process.target.revision == 1
    assert booted.generation is not None
    assert "twice ended" in booted.fallback


def test_what_compile_refuses_is_passed_over(tmp_path: Path) -> None:
    """A generation that this version cannot serve, and one that a bug cannot, give way to the one before."""
    cache = LastKnownGood(tmp_path, KEY)
    for revision, name in ((1, "good"), (2, "bug"), (3, "bad")):
        cache.save(Held(table(name), revision, "e"))
    process = Process(tmp_path)
    booted = process.boot()
    assert process.target.revision == 1
    assert "there is no such upstream" in booted.fallback
    assert "ZeroDivisionError" in booted.fallback


def test_a_seed_serves_where_nothing_is_kept(tmp_path: Path) -> None:
    """First boot: a YAML document, or a generation copied from elsewhere."""
    yaml = tmp_path / "seed.yml"
    yaml.write_text("upstreams: [{name: u, url: 'http://localhost:1'}]\nroutes: [{path: /a, upstream: u, name: a}]\n")
    process = Process(tmp_path / "one")
    assert process.boot(yaml) == Booted()
    assert ("route", "a") in (process.target.table or {})
    kept = LastKnownGood(tmp_path / "elsewhere", KEY).save(Held(table("b"), 9, "e"))
    process = Process(tmp_path / "two")
    process.boot(kept)
    assert process.target.revision == 9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"routes: [{path: 1", "not valid YAML"),
        (b"nonsense: 1\n", "nonsense"),
        (b"FLEXGATE", "torn"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_bad_seed_is_told_and_does_not_stop_the_node(tmp_path: Path, content: bytes, said: str) -> None:
    """A control plane may have better: the node waits for it, not ready, and says why."""
    seed = tmp_path / "seed"
    seed.write_bytes(content)
    process = Process(tmp_path / "cache")
    booted = process.boot(seed)
    assert process.serving.served is None
    assert said in booted.seed_error


def test_what_is_kept_goes_before_the_seed(tmp_path: Path) -> None:
    """A seed is for the first boot: it does not bring an old configuration back."""
    seed = tmp_path / "seed.yml"
    seed.write_text("nonsense: 1\n")
    LastKnownGood(tmp_path, KEY).save(Held(table("a"), 4, "e"))
    process = Process(tmp_path)
    assert process.boot(seed).seed_error == ""
    assert process.target.revision == 4


# ---- what is kept


async def test_only_what_served_for_a_while_is_kept(tmp_path: Path) -> None:
    """A revision that was replaced soon was never proved."""
    process = Process(tmp_path)
    process.receive(1, "a")
    await process.serve_for(9)
    process.receive(2, "b")
    await process.serve_for(9)
    assert process.kept() == []
    await process.serve_for(1)
    assert process.kept() == [2]


async def test_a_restless_configuration_is_kept_all_the_same(tmp_path: Path) -> None:
    """With edits that never pause, what is on disk grows no older than a few trust intervals."""
    process = Process(tmp_path)
    for revision in range(1, 100):
        process.receive(revision, f"r{revision}")
        await process.serve_for(1)
    newest = max(process.kept())
    assert 99 - newest <= PATIENCE * 10 + 1


async def test_the_same_is_not_written_again(tmp_path: Path) -> None:
    """A node that booted from disk and hears that it is current writes nothing."""
    first = Process(tmp_path)
    first.receive(1, "a")
    await first.serve_for(10)
    second = Process(tmp_path)
    second.boot()
    await second.serve_for(10)
    second.receive(1, "a")
    await second.serve_for(10)
    assert len(second.cache.paths()) == 1
    second.receive(2, "a")  # the same table under another number: the number is served too
    await second.serve_for(10)
    assert second.kept() == [2, 1]


async def test_a_full_disk_is_counted_and_tried_again(tmp_path: Path) -> None:
    """Serving goes on; when the disk works again what serves is kept."""
    process = Process(tmp_path)
    process.receive(1, "a")
    block = tmp_path / "generation-00000001.tmp"
    block.mkdir()  # stands where the file would be written
    await process.serve_for(10)
    assert (process.keeper.failures, process.target.revision, process.kept()) == (1, 1, [])
    block.rmdir()
    await process.serve_for(10)
    assert (process.keeper.failures, process.kept()) == (1, [1])


async def test_keeping_happens_by_itself(tmp_path: Path) -> None:
    """The keeper's own task writes what has become due."""
    process = Process(tmp_path, trust_after=0.0)
    running = asyncio.create_task(process.keeper.run())
    process.receive(1, "a")
    async with asyncio.timeout(5):
        while not process.cache.paths():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.001)
    running.cancel()
    assert process.kept() == [1]
