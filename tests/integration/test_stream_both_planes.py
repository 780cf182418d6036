"""Both ends of the stream, ours on either side: the node always ends up with what was published."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.table import Table
from tests.integration.controlplane_node import serving, until
from tests.integration.stream_control_plane import node
from tests.integration.stream_target import route, table

KINDS_OF_EDIT = ["put", "remove", "bad", "mend", "restore"]


async def test_a_node_follows_every_edit(tmp_path: Path) -> None:
    """From nothing, over deltas, to the newest; the registry sees it current."""
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            for number in range(5):
                await server.publish(table("a", f"b{number}"))
            await one.until(lambda: one.target.revision == 6, "revision 6")
            await until(lambda: server.nodes.view(6)[0].state == "current")
            assert one.target.table == table("a", "b4")
            assert one.discovery.status.digest == table("a", "b4").digest.hex()


async def test_a_large_table_comes_in_chunks(tmp_path: Path) -> None:
    """10 000 routes, more than one message, arrive as one table; one changed route arrives as a delta."""
    large = Table(route(f"r{number}", "u" * 200) for number in range(10_000))
    async with serving() as server:
        await server.publish(large)
        assert server.publisher.newest is not None
        assert len(server.publisher.newest.full().messages) > 1
        async with node(tmp_path, server.target) as one:
            await one.until(lambda: one.target.revision == 1, "the snapshot")
            before = server.nodes.view(1)[0].bytes_sent
            await server.publish(large.changed([route("r5", "v")], ()))
            await one.until(lambda: one.target.revision == 2, "the delta")
            assert server.nodes.view(2)[0].bytes_sent - before < 1000
            assert one.target.table == large.changed([route("r5", "v")], ())


async def test_a_refused_revision_shows_in_the_registry(tmp_path: Path) -> None:
    """Nacked with its reason, not sent again, and mended by the next one."""
    async with serving() as server:
        await server.publish(table("a"))
        async with node(tmp_path, server.target) as one:
            await one.until(lambda: one.target.revision == 1, "revision 1")
            await server.publish(table("a", "bad"))
            await until(lambda: server.nodes.view(2)[0].state == "nacked")
            [error] = server.nodes.view(2)[0].errors
            assert (error.name, error.message) == ("bad", "there is no such upstream")
            await server.publish(table("a", "c"))
            await one.until(lambda: one.target.revision == 3, "revision 3")
            assert one.target.applied == [1, 3]
            await until(lambda: server.nodes.view(3)[0].state == "current")


async def test_a_restored_store_is_followed(tmp_path: Path) -> None:
    """Another epoch with a lower revision is newer, not older."""
    async with serving() as server:
        await server.publish(table("a"), revision=40)
        async with node(tmp_path, server.target) as one:
            await one.until(lambda: one.target.revision == 40, "revision 40")
            await server.publish(table("b"), revision=3, epoch="restored")
            await one.until(lambda: one.target.revision == 3, "revision 3")
            await until(lambda: server.nodes.view(3)[0].state == "current")


async def test_drain_sends_the_node_to_another_replica(tmp_path: Path) -> None:
    """The node leaves at once, serves on, and is current elsewhere without any configuration."""
    async with serving() as first, serving() as second:
        for server in (first, second):
            await server.publish(table("a"))
        async with node(tmp_path, first.target, second.target) as one:
            await one.until(lambda: one.target.revision == 1, "revision 1")
            await first.discovery.drain(5.0)
            await until(lambda: [seen.state for seen in second.nodes.view(1)] == ["current"])
            assert one.target.applied == [1]


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "remove", "bad", "mend", "restore"]), st.sampled_from("abc")), max_size=8
    )
)
def test_any_sequence_of_edits_ends_equal(edits: list[tuple[str, str]]) -> None:
    """Edits, refused edits and restored stores, as fast as they come: once all is mended both tables are equal."""
    asyncio.run(_follow(edits))


async def _follow(edits: list[tuple[str, str]]) -> None:
    epoch, revision, now = "e0", 1, table("start")
    with TemporaryDirectory() as cache_dir:
        async with serving() as server, node(Path(cache_dir), server.target) as one:
            await server.publish(now, revision=revision, epoch=epoch)
            for what, name in [*edits, ("mend", "")]:
                revision += 1
                match what:
                    case "put":
                        now = now.changed([route(name, str(revision))], ())
                    case "remove":
                        now = now.changed((), [("route", name)])
                    case "bad":
                        now = now.changed([route("bad")], ())
                    case "mend":
                        now = now.changed((), [("route", "bad")])
                    case _:
                        epoch, revision = f"{epoch}+", 1
                await server.publish(now, revision=revision, epoch=epoch)
            digest = now.digest.hex()
            await until(lambda: (one.discovery.status.revision, one.discovery.status.digest) == (revision, digest))
            assert one.target.table == now
            assert one.discovery.status.drift_detected == 0
