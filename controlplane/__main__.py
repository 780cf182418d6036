"""flexgate-controlplane: serves a database, or a YAML file, to data planes until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from controlplane.app import running
from controlplane.fault_text import line_of
from controlplane.settings import PROGRAM, Settings, parse
from controlplane.start_error import StartError
from controlplane.store.database import DatabaseGone
from shared import log
from shared.faults import ConfigError


def main() -> None:
    """Run; exit code 0 after a signal, 1 where it could not start (one line for each reason), 2 for bad usage."""
    settings = parse(sys.argv[1:], os.environ)
    log.configure(PROGRAM, settings.log_level)
    try:
        asyncio.run(_serve(settings))
    except (StartError, DatabaseGone) as error:
        sys.exit(f"{PROGRAM}: {error}")
    except ConfigError as error:
        sys.exit("\n".join(line_of(str(settings.config or PROGRAM), fault) for fault in error.faults))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as control_plane:
        revision = control_plane.plane.publisher.revision
        ports = {"port": control_plane.rest_port, "grpcPort": control_plane.grpc_port}
        log.info("listening", host=settings.host, **ports, revision=revision)
        await stop.wait()
        log.info("draining")
    log.info("stopped")


if __name__ == "__main__":
    main()
