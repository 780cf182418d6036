"""`flexgate start`: a control plane, a data plane and, for a first look, a demo upstream, as one foreground program."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from controlplane.cli.children import ChildError, Children, Program
from controlplane.cli.demo_config import demo_config, is_untouched
from controlplane.cli.failure import Failure
from controlplane.cli.family import alone
from controlplane.cli.target import ADDRESS
from controlplane.cli.welcome import welcome
from controlplane.fault_text import line_of
from shared.document import read_file
from shared.faults import ConfigError

HOST = "127.0.0.1"
WITH_TLS = ("FLEXGATE_CP_REST_CERT", "FLEXGATE_CP_GRPC_CERT", "FLEXGATE_CP_GRPC_TLS")
"""What would make a control plane speak TLS."""
Port = Annotated[int, typer.Option(min=1, max=65535)]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    traffic: int
    admin: int
    rest: int
    grpc: int
    demo: int


def start(
    config: Annotated[
        Path | None, typer.Option(help="A YAML configuration; without it a database is the truth.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="With a demo upstream, and a configuration for it.")] = False,
    run_dir: Annotated[Path, typer.Option(help="Where state, caches and logs go.")] = Path(".run"),
    port: Port = 3000,
    admin_port: Port = 3001,
    rest_port: Port = 8080,
    grpc_port: Port = 50051,
    demo_port: Port = 9000,
) -> None:
    """Run a control plane and a data plane on this machine until Ctrl-C.

    The truth is the configuration file, or else a database: then `flexgate apply FILE` changes it.
    """
    ports = Ports(port, admin_port, rest_port, grpc_port, demo_port)
    _check_environment()
    try:
        file = _configuration(config, demo, run_dir, ports)
        _check_ports(ports, demo)
        asyncio.run(_run(programs(file, ports, run_dir, demo), file, ports, run_dir, demo))
    except ConfigError as error:
        first, *others = [line_of(str(file_of(config, demo, run_dir)), fault) for fault in error.faults]
        raise Failure("\n".join([first, *others])) from None
    except ChildError as error:
        raise Failure(str(error)) from None


app = alone(start)


def file_of(config: Path | None, demo: bool, run_dir: Path) -> Path | None:
    """The configuration file that is the truth; None: a database is."""
    return config or (run_dir / "demo.yml" if demo else None)


def _configuration(config: Path | None, demo: bool, run_dir: Path, ports: Ports) -> Path | None:
    """The configuration file, checked; the demo's is written anew until the first edit makes it the user's."""
    file = file_of(config, demo, run_dir)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if file is not None and config is None:
            _keep_demo(file, f"{HOST}:{ports.demo}")
    except OSError as error:
        raise Failure(f"cannot write {error.filename or run_dir}: {error.strerror}") from error
    if file is None:
        return None
    for warning in read_file(file).warnings:
        typer.echo(f"warning: {line_of(str(file), warning)}", err=True)
    return file


def _keep_demo(file: Path, upstream: str) -> None:
    """Write the demo's configuration for this upstream, unless the user has edited it."""
    if not file.exists() or is_untouched(file.read_text()):
        file.write_text(demo_config(upstream))
    elif upstream not in file.read_text():
        kept = f"{file} has edits of yours and is kept; nothing in it leads to {upstream}, the demo upstream"
        typer.echo(f"note: {kept}. Edit it, or remove it to have it written anew", err=True)


def _check_environment() -> None:
    """The planes inherit the environment, and find each other by plain addresses of this machine."""
    if found := [name for name in WITH_TLS if os.environ.get(name, "off") not in {"", "off"}]:
        verb = "makes" if len(found) == 1 else "make"
        told = f"{', '.join(found)} {verb} the control plane speak TLS, and here it is asked in plain text"
        raise Failure(f"{told}: unset that, or start flexgate-controlplane and flexgate-dataplane by themselves")


def _check_ports(ports: Ports, demo: bool) -> None:
    """Refuse before anything runs where a port is taken."""
    wanted = {
        "--port": ports.traffic,
        "--admin-port": ports.admin,
        "--rest-port": ports.rest,
        "--grpc-port": ports.grpc,
    } | ({"--demo-port": ports.demo} if demo else {})
    if len(set(wanted.values())) < len(wanted):
        raise Failure(f"{', '.join(wanted)} must all be different")
    for flag, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen()
            except OSError as error:
                reason = f"port {port} of {HOST} cannot be used ({os.strerror(error.errno or 0).lower()})"
                raise Failure(f"{reason}: free it, or give another with {flag}") from error


def programs(file: Path | None, ports: Ports, run_dir: Path, demo: bool) -> list[Program]:
    """What to run, in the order of the start."""
    python = sys.executable
    control = (
        *(
            python,
            "-m",
            "controlplane",
            *(("--config", str(file)) if file else ()),
            "--state-dir",
            str(state_of(run_dir)),
        ),
        *("--host", HOST, "--port", str(ports.rest), "--grpc-port", str(ports.grpc)),
    )
    data = (
        *(python, "-m", "dataplane", "--control-plane", f"{HOST}:{ports.grpc}", "--cache-dir", str(run_dir / "cache")),
        *("--host", HOST, "--port", str(ports.traffic), "--admin-port", str(ports.admin)),
    )
    upstream = (python, "-m", "controlplane.demo", "--port", str(ports.demo))
    # A database may be empty yet: then nothing is served, and that is no failure of the start.
    ready = "ready" if file else "live"
    started = [
        Program("control plane", control, f"http://{HOST}:{ports.rest}/health/ready", run_dir / "control-plane.log"),
        Program("data plane", data, f"http://{HOST}:{ports.admin}/health/{ready}", run_dir / "data-plane.log"),
    ]
    if demo:
        started.insert(0, Program("demo upstream", upstream, f"http://{HOST}:{ports.demo}/", run_dir / "demo.log"))
    return started


async def _run(started: list[Program], file: Path | None, ports: Ports, run_dir: Path, demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    typer.echo(f"starting {', '.join(program.name for program in started)} ...")
    async with Children(started) as children:
        if await children.until_ready(stop):
            gateway, rest = f"http://{HOST}:{ports.traffic}", f"http://{HOST}:{ports.rest}"
            token_set = "FLEXGATE_ADMIN_TOKEN" in os.environ
            with _telling(state_of(run_dir) / ADDRESS, rest):
                typer.echo(welcome(gateway, rest, file, run_dir, sys.argv[0], demo=demo, token_set=token_set))
                await children.until_stopped(stop)
        typer.echo("stopping ...")
    typer.echo("stopped")


def state_of(run_dir: Path) -> Path:
    """The control plane's state directory."""
    return run_dir / "control-plane"


@contextmanager
def _telling(file: Path, url: str) -> Iterator[None]:
    """Where the REST API is, for other commands on this machine, as long as it is there."""
    file.write_text(url)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
