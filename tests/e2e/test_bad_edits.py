"""Edits that must not be served: found by the control plane, or only by the node; either way the old ones serve on."""

from __future__ import annotations

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

from tests.e2e.configuration import configured
from tests.e2e.control_plane import TOKEN, ControlPlane, control_plane
from tests.e2e.data_plane import data_plane
from tests.e2e.load import under_load
from tests.e2e.origin import echo
from tests.support.origin import serving


async def flexgate(*argv: str) -> str:
    """What `flexgate` prints."""
    code = "from controlplane.cli import main; main()"
    environment = {**os.environ, "NO_COLOR": "1"}
    process = await create_subprocess_exec(sys.executable, "-c", code, *argv, stdout=PIPE, env=environment)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def status(control: ControlPlane) -> str:
    return await flexgate("status", "--url", control.url, "--token", TOKEN)


async def test_a_bad_edit_is_told_and_not_served(tmp_path: Path) -> None:
    """With line, path and suggestion, in the log, the API and the command line; the next good edit goes through."""
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url, 1)) as control,
        data_plane(control.address, tmp_path, "a") as plane,
    ):
        revision = await control.until_current(nodes=1)
        async with under_load(plane.port) as load:
            bad = configured(origin.url, 2).replace('"responseHeaders"', '"responseHeadres"')
            line = next(number for number, text in enumerate(bad.splitlines(), 1) if "Headres" in text)
            control.write(bad)
            rejected = await control.process.event("config.rejected")
            told = {"line": line, "path": "routes[0].responseHeadres", "still_serving": revision}
            assert told.items() <= rejected.items()
            assert rejected["message"] == "unknown key; did you mean responseHeaders?"

            source = (await control.get("/api/status"))["source"]
            assert source["state"] == "rejected"
            assert [(fault["line"], fault["path"]) for fault in source["faults"]] == [(line, told["path"])]
            shown = await status(control)
            assert f"line {line}: routes[0].responseHeadres: unknown key; did you mean responseHeaders?" in shown
            assert f"revision {revision} keeps serving" in shown

            await load.more()
            assert set(load.answered) == {revision}
            assert (await plane.ask("/load/1")).value("x-edit") == "1"

            control.write(configured(origin.url, 3))
            assert await control.until_current(nodes=1, revision=revision + 1) == revision + 1
            assert (await plane.ask("/load/1")).value("x-edit") == "3"
            assert (await control.get("/api/status"))["source"]["state"] == "in sync"
        assert load.failures == []


async def test_what_a_node_cannot_apply_it_refuses(tmp_path: Path) -> None:
    """A file that only the node misses: refused with its path, shown, not sent again; the old table serves on."""
    absent = tmp_path / "absent.pem"
    secure = {"name": "secure", "url": "https://127.0.0.1:9", "tls": {"ca": str(absent)}}
    async with (
        serving(echo) as origin,
        control_plane(tmp_path, configured(origin.url, 1)) as control,
        data_plane(control.address, tmp_path, "a") as plane,
    ):
        good = await control.until_current(nodes=1)
        async with under_load(plane.port) as load:
            control.write(configured(origin.url, 2, upstreams=[secure]))
            await control.until("/api/status", lambda shown: shown["nodes"]["nacked"] == 1)
            refused = await control.node("a")
            assert (refused["ackedRevision"], refused["nackedRevision"]) == (good, good + 1)
            [error] = refused["errors"]
            assert (error["kind"], error["name"], error["path"]) == ("upstream", "secure", "tls.ca")
            assert error["message"] == f"{absent} cannot be used: [Errno 2] No such file or directory"
            shown = await status(control)
            assert f"refused revision {good + 1}: upstream secure: tls.ca: {absent} cannot be used" in shown

            # Beats go on after the refusal, and each could bring the revision again.
            await control.until("/api/nodes", lambda found: found["nodes"][0]["bytesSent"] > refused["bytesSent"])
            await load.more()
            assert len(plane.process.events("config.refused")) == 1
            assert set(load.answered) == {good}
            assert (await plane.ask("/load/1")).value("x-edit") == "1"

            control.write(configured(origin.url, 3))
            assert await control.until_current(nodes=1, revision=good + 2) == good + 2
            applied = [record["revision"] for record in plane.process.events("config.applied")]
            assert (applied, len(plane.process.events("config.refused"))) == ([good, good + 2], 1)
            assert (await plane.ask("/load/1")).value("x-edit") == "3"
        assert load.failures == []
