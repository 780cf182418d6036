"""The control plane freezes, or comes back without its memory: nodes serve on, and find to it again."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.support.origin import serving

pytestmark = [pytest.mark.chaos, pytest.mark.long]


async def test_frozen_under_load(tmp_path: Path, outcome: Outcome) -> None:
    """SIGSTOP, as a cut network looks: connections stay open and nobody answers. The node notices by silence.

    An edit of meanwhile is served once it thaws, and every request is in its totals, each once.
    """
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url, 1)) as control,
        data_plane(control.address, tmp_path, "a", "--report-interval", "0.2") as plane,
    ):
        revision = await control.until_current(nodes=1)
        async with under_load(plane.port) as load:
            outcome.struck("control plane frozen (SIGSTOP), then thawed")
            control.process.signal(signal.SIGSTOP)
            control.write(configured(origin.url, 2))
            await plane.process.event("control_plane.disconnected")
            ready = await plane.admin("/health/ready")
            assert (ready.status, ready.json["checks"]["controlPlane"]) == (200, "DOWN")
            await load.more(500)
            assert set(load.answered) == {revision}
            control.process.signal(signal.SIGCONT)
            await plane.serves(revision + 1)
            await control.until_current(nodes=1, revision=revision + 1)
            outcome.recovered()
            await load.more(50)
        outcome.load(load)
        assert load.failures == []
        await control.until("/api/metrics", lambda shown: shown["summary"]["totalRequests"] >= load.total)
        assert (await control.get("/api/metrics"))["summary"]["totalRequests"] == load.total
        told = [event["event"] for event in (await control.get("/api/events?node=a"))["events"]]
        assert told.count("node.connected") - told.count("node.disconnected") == 1


async def test_back_without_its_state(tmp_path: Path, outcome: Outcome) -> None:
    """Killed, its state directory lost: it counts revisions anew under another epoch, and the node follows it there.

    A lower number is not taken for something old.
    """
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url, 1)) as control,
        data_plane(control.address, tmp_path, "a") as plane,
    ):
        for edit in (2, 3):
            control.write(configured(origin.url, edit))
            revision = await control.until_current(nodes=1, revision=edit)
        async with under_load(plane.port) as load:
            outcome.struck("control plane killed, its state lost")
            await control.process.kill()
            shutil.rmtree(tmp_path / "control-plane")
            control.write(configured(origin.url, 4))
            await control.start()
            anew = await control.until_current(nodes=1)
            outcome.recovered()
            assert anew < revision
            await load.more()
            assert (await plane.ask("/load/1")).value("x-edit") == "4"
        outcome.load(load)
        assert load.failures == []
        assert set(load.answered) >= {revision, anew}
