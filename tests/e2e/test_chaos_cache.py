"""What is kept on disk is damaged, cannot be written, or ends the process: a node still serves, or says why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import DataPlane, data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.support.deadline import eventually
from tests.support.origin import serving

pytestmark = [pytest.mark.chaos, pytest.mark.long]
NOBODY = "127.0.0.1:1"
"""No control plane listens there."""


def kept(directory: Path) -> list[Path]:
    """The files of the generations of node a, newest first."""
    return sorted((directory / "cache-a" / "worker-0").glob("*.lkg"), reverse=True)


async def served_edit(plane: DataPlane) -> tuple[int, str | None]:
    """(status, the edit that serves)."""
    answer = await plane.ask("/load/1")
    return answer.status, answer.value("x-edit")


async def keep_two(directory: Path, origin: str) -> None:
    """Let node a keep edits 1 and 2, and kill everything."""
    async with (
        control_plane(directory, configured(origin, 1)) as control,
        data_plane(control.address, directory, "a") as plane,
    ):
        first = await control.until_current(nodes=1)
        await plane.process.event("config.kept", revision=first)
        control.write(configured(origin, 2))
        await plane.process.event("config.kept", revision=await control.until_current(nodes=1, revision=first + 1))
        await plane.process.kill()


async def test_damaged_files_at_boot(tmp_path: Path, outcome: Outcome) -> None:
    """The newest is torn: the one before serves. All are: the seed does. There is none: not ready, and no crash."""
    async with serving(echo) as origin:
        await keep_two(tmp_path, origin.url)
        newest, older = kept(tmp_path)
        outcome.struck("data plane killed, its kept configurations torn one by one")
        newest.write_bytes(newest.read_bytes()[:-7])
        async with data_plane(NOBODY, tmp_path, "a") as plane, under_load(plane.port) as load:
            assert await served_edit(plane) == (200, "1")
            assert newest.name in (await plane.process.event("cache.skipped"))["reason"]
            assert newest.name in (await plane.admin("/health/deep")).json["config"]["fallback"]
            outcome.recovered()
        outcome.load(load)
        assert load.failures == []

        older.write_bytes(b"")
        seed = tmp_path / "seed.yml"
        seed.write_text(configured(origin.url, 9))
        async with data_plane(NOBODY, tmp_path, "a", "--seed", str(seed)) as plane:
            assert await served_edit(plane) == (200, "9")
        async with data_plane(NOBODY, tmp_path, "a") as plane:
            assert await served_edit(plane) == (503, None)
            assert (await plane.admin("/health/ready")).status == 503


async def test_a_revision_that_kills_at_boot(tmp_path: Path, outcome: Outcome) -> None:
    """Twice the process dies soon after it booted the newest revision: the third boot serves the one before it."""
    async with serving(echo) as origin:
        await keep_two(tmp_path, origin.url)
        outcome.struck("data plane killed soon after each boot")
        for _ in range(2):
            async with data_plane(NOBODY, tmp_path, "a", "--trust-after", "3600") as plane:
                assert await served_edit(plane) == (200, "2")
                await plane.process.kill()
        async with data_plane(NOBODY, tmp_path, "a", "--trust-after", "3600") as plane:
            assert await served_edit(plane) == (200, "1")
            outcome.recovered()
            fallback = (await plane.admin("/health/deep")).json["config"]["fallback"]
            assert "twice ended this process" in fallback


async def test_the_directory_vanishes_while_it_serves(tmp_path: Path, outcome: Outcome) -> None:
    """Nothing can be kept any more, which is told; edits are served all the same, and kept again once it is back."""
    directory = tmp_path / "cache-a"
    async with serving(echo) as origin:
        async with (
            control_plane(tmp_path, configured(origin.url, 1)) as control,
            data_plane(control.address, tmp_path, "a") as plane,
        ):
            await plane.process.event("config.kept", revision=await control.until_current(nodes=1))
            async with under_load(plane.port) as load:
                outcome.struck("cache directory replaced by a file, then back")
                shutil.rmtree(directory)
                directory.write_text("in the way")
                control.write(configured(origin.url, 2))
                revision = await control.until_current(nodes=1, revision=2)
                await plane.process.event("config.not_kept")
                await eventually(
                    lambda: plane.admin("/health/deep"), lambda deep: deep.json["config"]["saveFailures"] > 0
                )
                assert await served_edit(plane) == (200, "2")
                directory.unlink()
                control.write(configured(origin.url, 3))
                await plane.process.event("config.kept", revision=revision + 1)
                outcome.recovered()
                await load.more()
            outcome.load(load)
            assert load.failures == []
        async with data_plane(NOBODY, tmp_path, "a") as plane:
            assert await served_edit(plane) == (200, "3")
