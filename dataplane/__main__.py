"""`python -m dataplane`: one worker, or the small parent of several. Exit codes: 0 drained, 1 cannot start, 2 usage."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from dataplane.settings import PROGRAM, Settings, parse
from dataplane.start_error import StartError
from shared import defaults, log
from shared.faults import ConfigError, Fault


def main() -> None:
    """The console script."""
    argv = sys.argv[1:]
    settings = parse(argv, os.environ)
    log.configure(PROGRAM, settings.log_level or defaults.LOG_LEVEL)
    sys.exit(run(settings, argv))


def run(settings: Settings, argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code. What keeps it from starting is told in one line each."""
    try:
        from dataplane.workers import count, supervise  # noqa: PLC0415  # a worker of several needs none of it

        if settings.worker_index is None:
            configured = _configured(settings)
            workers = count(settings.workers, configured.get("workers"))
            if workers > 1:
                host = settings.host or str(configured.get("host") or defaults.HOST)
                port = settings.port if settings.port is not None else int(configured.get("port", defaults.PORT))
                return supervise(argv, workers, host, port)
        return _run_worker(settings)
    except ConfigError as error:
        for fault in error.faults:
            print(f"{PROGRAM}: {_told(fault, settings)}", file=sys.stderr)
    except StartError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    return 1


def _told(fault: Fault, settings: Settings) -> str:
    """FILE:LINE: path: message, as far as they are known; faults of other files name theirs."""
    of_config = settings.config is not None and fault.code != "unreadable"
    where = f"{settings.config}:{fault.line}" if fault.line else str(settings.config)
    resource = f"{fault.kind} {fault.name}" if fault.name and not fault.line else ""
    return ": ".join(part for part in (where if of_config else "", resource, fault.path, fault.message) if part)


def _configured(settings: Settings) -> dict[str, Any]:
    """What a node alone takes from its file before it starts: workers, host and port, where given."""
    if settings.config is None:
        return {}
    from shared.document import read_file  # noqa: PLC0415  # only a node alone reads YAML

    proxy = read_file(settings.config).config.settings.proxy
    names = ("workers", "port")
    given = {name: getattr(proxy, name) for name in names if proxy.HasField(name)}  # type: ignore[arg-type]  # no literal
    return given | {"host": proxy.host}


def _run_worker(settings: Settings) -> int:
    import uvloop  # noqa: PLC0415  # the parent of several workers stays small

    return uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    from dataplane.app import DataPlane  # noqa: PLC0415  # the parent of several workers stays small
    from dataplane.parent import parent_gone, tell_serving  # noqa: PLC0415  # the same

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    plane = DataPlane(settings)
    await plane.start()
    waits: list[Coroutine[Any, Any, Any]] = [stop.wait(), plane.broken()]
    if settings.worker_index is not None:
        tell_serving()
        waits.append(parent_gone())
    tasks = [loop.create_task(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    failure = next((task.exception() for task in done if task.exception() is not None), None)
    if failure is not None:
        log.failure("worker.broken", reason=repr(failure))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second signal ends the drain at once
    await plane.stop(delay=settings.drain_delay)
    return 0 if failure is None else 1


if __name__ == "__main__":
    main()
