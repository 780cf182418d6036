"""The parent of workers, over real child processes that do as the test says; on asyncio's own loop, as it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.start_error import StartError
from dataplane.workers import Supervisor, count, processors, reserve, supervise
from tests.support.deadline import DEADLINE

SERVE = "tell_serving(); asyncio.run(parent_gone())"
DRAIN = """
signal.signal(signal.SIGTERM, lambda *_: (note("drained"), sys.exit(0)))
tell_serving(); asyncio.run(parent_gone())
"""
IGNORE = """
signal.signal(signal.SIGTERM, lambda *_: note("ignored"))
tell_serving(); asyncio.run(parent_gone())
"""
FAIL = "note('failed'); sys.exit(7)"
CRASH_ONCE = f"""
if note("started") == 1: tell_serving(); os._exit(9)
{SERVE}
"""
PRELUDE = """
import asyncio, os, signal, sys
from dataplane.parent import parent_gone, tell_serving
def note(what):
    with open(f"{sys.argv[1]}-{what}", "a") as file: file.write("x")
    return os.stat(f"{sys.argv[1]}-{what}").st_size
"""


def command(notes: Path, *scripts: str) -> Callable[[int], list[str]]:
    """What to run for each index; the last script is for all further ones."""

    def of(index: int) -> list[str]:
        script = scripts[min(index, len(scripts) - 1)]
        return [sys.executable, "-c", PRELUDE + script, str(notes / str(index))]

    return of


class Watched:
    """A supervisor whose children's coming into service the test can wait for."""

    def __init__(self, notes: Path, *scripts: str, workers: int) -> None:
        self.serving: asyncio.Queue[int] = asyncio.Queue()
        self.supervisor = Supervisor(
            command(notes, *scripts),
            workers,
            jitter=lambda: 0.0,
            first_delay=0.001,
            on_serving=self.serving.put_nowait,
        )

    async def run(self, then: Callable[[Supervisor], None], *, after: int) -> tuple[int, list[int]]:
        """Run until so many came into service, then do that; the exit code, and who came in which order."""
        running = asyncio.create_task(self.supervisor.run())
        async with asyncio.timeout(2 * DEADLINE):
            came = [await self.serving.get() for _ in range(after)]
            then(self.supervisor)
            return await running, came


def test_the_number_of_workers() -> None:
    """The setting wins over the configuration; neither means one; auto is one for each processor."""
    assert (count(3, 5), count(None, 5), count(None, None)) == (3, 5, 1)
    assert count(0, None) == count(None, 0) == processors() >= 1


def test_all_workers_serve_and_drain(tmp_path: Path) -> None:
    """The first alone, then the others; a stop reaches all, and the exit code is 0."""
    watched = Watched(tmp_path, DRAIN, workers=3)
    code, came = asyncio.run(watched.run(lambda parent: parent.stop(), after=3))
    assert (code, came[0], sorted(came)) == (0, 0, [0, 1, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-drained", "1-drained", "2-drained"]


def test_signals_stop_all(tmp_path: Path) -> None:
    """SIGTERM to the parent ends everything in order."""
    watched = Watched(tmp_path, DRAIN, workers=2)
    code, _ = asyncio.run(watched.run(lambda _: os.kill(os.getpid(), signal.SIGTERM), after=2))
    assert code == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_second_stop_ends_at_once(tmp_path: Path) -> None:
    """A child that does not end by itself is killed when asked again."""
    watched = Watched(tmp_path, IGNORE, workers=1)

    def stop_twice(parent: Supervisor) -> None:
        parent.stop()
        parent.stop()

    code, _ = asyncio.run(watched.run(stop_twice, after=1))
    assert code == 0


def test_a_first_worker_that_cannot_start_ends_all(tmp_path: Path) -> None:
    """Its exit code is ours; no other worker was even started, and it was not tried again."""
    watched = Watched(tmp_path, FAIL, DRAIN, workers=3)
    code, _ = asyncio.run(watched.run(lambda _: None, after=0))
    assert code == 7
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("0-failed", 1)]


def test_another_worker_that_cannot_start_ends_all(tmp_path: Path) -> None:
    """Nothing stays half started: those that serve are drained."""
    watched = Watched(tmp_path, DRAIN, FAIL, workers=2)
    code, _ = asyncio.run(watched.run(lambda _: None, after=1))
    assert code == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-drained", "1-failed"]


def test_a_worker_that_crashes_is_started_again(tmp_path: Path) -> None:
    """The others are left alone."""
    watched = Watched(tmp_path, CRASH_ONCE, DRAIN, workers=2)
    code, came = asyncio.run(watched.run(lambda parent: parent.stop(), after=3))
    assert (code, sorted(came)) == (0, [0, 0, 1])


def test_a_program_that_is_not_there_ends_all() -> None:
    """What cannot be executed cannot start."""
    supervisor = Supervisor(lambda _: ["/not/there"], 2)
    assert asyncio.run(supervisor.run()) == 1


def test_restarts_slow_down() -> None:
    """From half a second, doubling to 30, with a share of chance."""
    slow, quick = Supervisor(lambda _: [], 1, jitter=lambda: 1.0), Supervisor(lambda _: [], 1, jitter=lambda: 0.0)
    assert [slow.delay(crashes) for crashes in (1, 2, 3, 7, 100)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert quick.delay(1) == 0.25


def test_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the parent leaves no orphan: the child sees the line end."""
    script = f"""
import asyncio, sys
from dataplane.workers import Supervisor
child = '''{PRELUDE}tell_serving(); print(os.getpid(), flush=True); asyncio.run(parent_gone()); note("orphaned")'''
asyncio.run(Supervisor(lambda i: [sys.executable, "-c", child, {str(tmp_path / "0")!r}], 1).run())
"""

    async def kill_the_parent() -> None:
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        assert parent.stdout is not None
        async with asyncio.timeout(2 * DEADLINE):
            assert int(await parent.stdout.readline()) > 0
            parent.kill()
            # The child holds the other end of our pipe: it ends when the child does.
            assert await parent.stdout.read() == b""
            await parent.wait()

    asyncio.run(kill_the_parent())
    assert (tmp_path / "0-orphaned").exists()


def test_a_port_in_use_is_told_before_anything_starts() -> None:
    """One line with the address and the reason; also where the other listens with SO_REUSEPORT, as our workers do."""
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, option, 1)
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(
                StartError, match=f"cannot listen on 127.0.0.1:{port} for traffic: Address already in use"
            ):
                supervise([], 2, "127.0.0.1", port)


def test_a_reserved_port_is_shared_and_takes_no_connections() -> None:
    """Workers can listen on it, and every connection goes to them."""
    with reserve("127.0.0.1", 0) as reserved:
        address = reserved.getsockname()
        with socket.create_server(address, reuse_port=True) as worker:
            worker.settimeout(DEADLINE)
            for _ in range(20):
                with socket.create_connection(address, timeout=DEADLINE):
                    worker.accept()[0].close()
