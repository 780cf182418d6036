"""What happens on a node and to it is heard at the control plane, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.configuration import configured
from tests.e2e.control_plane import control_plane
from tests.e2e.data_plane import data_plane
from tests.e2e.origin import echo
from tests.support.origin import serving


def names(answer: Any) -> list[str]:
    """The events of GET /api/events, newest first."""
    return [event["event"] for event in answer["events"]]


async def test_events_of_both_planes_in_one_list(tmp_path: Path) -> None:
    """A node comes, fails a request, is given another configuration and goes; a bad edit is told as well."""
    async with serving(echo) as origin:
        down = {"path": "/down", "upstream": "down"}
        nowhere = {"name": "down", "url": "http://127.0.0.1:1"}
        text = configured(origin.url, routes=[down], upstreams=[nowhere])
        async with control_plane(tmp_path, text) as control:
            async with data_plane(control.address, tmp_path, "a", "--report-interval", "0.2") as plane:
                await control.until_current(nodes=1)
                assert (await plane.ask("/down")).status == 502
                found = await control.until("/api/events?event=request.error&node=a", lambda shown: shown["total"])
                assert found["events"][0]["data"]["upstream"] == "down"
                [own] = (await plane.admin("/events?name=request.error")).json["events"]
                assert own["timestamp"] == found["events"][0]["timestamp"]
                control.write(configured(origin.url, 2))
                await control.until("/api/events", lambda shown: "config.changed" in names(shown))
                control.write("routes: 7\n")
                shown = await control.until("/api/events", lambda shown: "config.rejected" in names(shown))
                assert shown["events"][0]["data"]["faults"][0]["path"] == "routes"
            shown = await control.until("/api/events?node=a", lambda shown: "node.disconnected" in names(shown))
            assert names(shown)[0] == "node.disconnected"
            assert names(shown)[-1] == "node.connected"
            text = (await control.ask("/metrics")).body.decode()
            assert 'events_total{event="node.connected"} 1.0' in text
            assert (await control.ask("/api/events?x=1")).status == 400
