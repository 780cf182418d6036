"""The control plane dies, comes back, or is not there at all: data planes serve on, and count on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.e2e.outcome import Outcome
from tests.support.deadline import eventually
from tests.support.origin import serving

pytestmark = pytest.mark.chaos
REPORT_SECONDS = 3


def requests(metrics: dict[str, dict[str, int]]) -> int:
    """The total of GET /api/metrics."""
    return metrics["summary"]["totalRequests"]


@pytest.mark.long
async def test_killed_and_started_again_under_load(tmp_path: Path, outcome: Outcome) -> None:
    """No request fails or goes uncounted; the node says that it is alone meanwhile, and needs no configuration after.

    Totals live as long as a control plane does, so both are added up. The first is killed right after a report came:
    until the next one, what it was told is what it showed.
    """
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url)) as control,
        data_plane(control.address, tmp_path, "a", "--report-interval", str(REPORT_SECONDS)) as plane,
    ):
        revision = await control.until_current(nodes=1)
        async with under_load(plane.port) as load:
            counted = requests(await control.until("/api/metrics", lambda shown: requests(shown) > 0))
            assert requests(await control.get("/api/metrics")) == counted  # and so the report's ack has left, too
            outcome.struck("control plane killed, then started again")
            await control.process.kill()
            loop = asyncio.get_running_loop()
            next_report = loop.time() + REPORT_SECONDS

            await plane.process.event("control_plane.disconnected")
            ready = await plane.admin("/health/ready")
            assert (ready.status, ready.json["status"]) == (200, "DEGRADED")
            assert ready.json["checks"]["controlPlane"] == "DOWN"
            while loop.time() < next_report:  # this one finds nobody, and has to wait
                await load.more(20)

            await control.start()
            await control.until_current(nodes=1)
            await plane.process.event("control_plane.connected", nth=2)
            outcome.recovered()
            await load.more(200)
        outcome.load(load)
        assert load.failures == []
        assert set(load.answered) == {revision}
        await control.until("/api/metrics", lambda shown: counted + requests(shown) >= load.total)
        shown = await control.get("/api/metrics")
        assert counted + requests(shown) == load.total
        assert [code["code"] for code in shown["statusCodes"]] == [200]
        node = await control.node("a")
        assert (node["sentRevision"], node["ackedRevision"]) == (0, revision)  # Current, and nothing else
        assert len(plane.process.events("config.applied")) == 1
        assert (await plane.admin("/health/ready")).json["status"] == "UP"


async def test_a_node_boots_from_what_it_kept(tmp_path: Path, outcome: Outcome) -> None:
    """Everything is killed; a data plane alone serves the revision that it last served, ready and saying that it is."""
    async with serving(echo) as origin:
        async with (
            control_plane(tmp_path, configured(origin.url, 1)) as control,
            data_plane(control.address, tmp_path, "a") as plane,
        ):
            control.write(configured(origin.url, 2))
            revision = await control.until_current(nodes=1, revision=2)
            await plane.process.event("config.kept", revision=revision)
            outcome.struck("everything killed, a data plane started alone")
            plane.process.signal(signal.SIGKILL)
            control.process.signal(signal.SIGKILL)
        async with data_plane(control.address, tmp_path, "a") as plane, under_load(plane.port, connections=1) as load:
            outcome.recovered()
            answer = await plane.ask("/load/1")
            assert (answer.status, answer.value("x-edit"), answer.value("x-config-version")) == (
                200,
                "2",
                str(revision),
            )
            await plane.process.event("control_plane.disconnected")
            ready = await plane.admin("/health/ready")
            assert (ready.status, ready.json["status"]) == (200, "DEGRADED")
            config = (await plane.admin("/health/deep")).json["config"]
            assert (config["source"], config["revision"], config["connected"]) == ("cache", revision, False)
        outcome.load(load)
        assert load.failures == []


async def test_a_new_node_alone_is_not_ready(tmp_path: Path, outcome: Outcome) -> None:
    """Without anything kept it is 503 on every path, never an open 404, until a control plane is there."""
    async with serving(echo) as origin, control_plane(tmp_path, configured(origin.url)) as control:
        outcome.struck("control plane killed, a new data plane started, then the control plane")
        await control.process.kill()
        async with data_plane(control.address, tmp_path, "new") as plane:
            answer = await plane.ask("/load/1")
            assert (answer.status, answer.value("x-config-version")) == (503, "0")
            assert answer.value("retry-after") is not None
            assert (await plane.ask("/nowhere")).status == 503
            ready = await plane.admin("/health/ready")
            assert (ready.status, ready.json["checks"]["config"]) == (503, "DOWN")
            assert (await plane.admin("/health/live")).status == 200

            await control.start()
            await control.until_current(nodes=1)
            ready = await eventually(lambda: plane.admin("/health/ready"), lambda found: found.status == 200)
            outcome.recovered()
            assert ready.json["status"] == "UP"
            assert (await plane.ask("/load/1")).status == 200
