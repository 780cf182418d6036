"""How a control plane is started: flags and environment, read once. Configuration (routes and so on) is not here."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from shared import __version__
from shared.log import LEVELS

PROGRAM = "flexgate-controlplane"


@dataclass(frozen=True, slots=True)
class Settings:
    """`heartbeat` is in seconds; a port of 0 takes any free one; an empty token means that none is asked for.

    Without a `config` file the database is the truth.
    """

    config: Path | None = None
    database: str = field(default="", repr=False)  # it may hold a password
    state_dir: Path = Path(".flexgate/control-plane")
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 50051
    admin_token: str = field(default="", repr=False)
    node_token: str = field(default="", repr=False)
    grpc_cert: Path | None = None
    grpc_key: Path | None = None
    grpc_client_ca: Path | None = None
    heartbeat: float = 5.0
    log_level: str = "info"

    @property
    def database_url(self) -> str:
        """Where the database is; without a word about it, a file in the state directory."""
        return self.database or default_database(self.state_dir)


def default_database(state_dir: Path) -> str:
    """The URL of the SQLite file in a state directory."""
    return f"sqlite:///{state_dir / 'flexgate.db'}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as operators give it: `--name VALUE`, or its variable."""

    name: str
    variable: str
    value: str
    convert: Callable[[str], Any]  # ValueError where the text is not one
    meaning: str

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65535:
        return int(text)
    raise ValueError(f"{text!r} is not a port: give a number from 0 to 65535 (0: any free one)")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if 0.05 <= seconds <= 300:
        return seconds
    raise ValueError(f"{text!r} is not a number of seconds from 0.05 to 300")


def _level(text: str) -> str:
    if text.lower() in LEVELS:
        return text.lower()
    raise ValueError(f"{text!r} is not one of {', '.join(LEVELS)}")


OPTIONS = (
    Option("config", "FLEXGATE_CONFIG", "FILE", Path, "a YAML file as the truth; it is watched"),
    Option(
        "database",
        "FLEXGATE_DATABASE_URL",
        "URL",
        str,
        "sqlite:///FILE or postgresql://USER@HOST/NAME (default: flexgate.db in the state directory)",
    ),
    Option("host", "FLEXGATE_CP_HOST", "ADDRESS", str, "address of both ports (default 127.0.0.1)"),
    Option("port", "FLEXGATE_CP_PORT", "N", _port, "REST port (default 8080)"),
    Option("grpc-port", "FLEXGATE_CP_GRPC_PORT", "N", _port, "gRPC port: stream, telemetry, admin (default 50051)"),
    Option(
        "state-dir",
        "FLEXGATE_CP_STATE_DIR",
        "DIR",
        Path,
        "where state is kept (default .flexgate/control-plane)",
    ),
    Option("admin-token", "FLEXGATE_ADMIN_TOKEN", "TOKEN", str, "bearer token of operators (better as a variable)"),
    Option("node-token", "FLEXGATE_NODE_TOKEN", "TOKEN", str, "bearer token of data planes (better as a variable)"),
    Option("grpc-cert", "FLEXGATE_CP_GRPC_CERT", "FILE", Path, "PEM certificate chain: TLS on the gRPC port"),
    Option("grpc-key", "FLEXGATE_CP_GRPC_KEY", "FILE", Path, "its PEM key"),
    Option(
        "grpc-client-ca",
        "FLEXGATE_CP_GRPC_CLIENT_CA",
        "FILE",
        Path,
        "PEM authorities that gRPC clients must have a certificate of",
    ),
    Option(
        "heartbeat", "FLEXGATE_CP_HEARTBEAT", "SECONDS", _seconds, "interval of heartbeats on the stream (default 5)"
    ),
    Option("log-level", "FLEXGATE_CP_LOG_LEVEL", "LEVEL", _level, "debug, info, warn or error (default info)"),
)
"""One table makes the flags, the variables, the help and the conversions."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 2, without the usage text."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings; a flag wins over its variable. Where they make no sense, one line on stderr and SystemExit(2)."""
    parser = _Parser(prog=PROGRAM, description="The FlexGate control plane.", allow_abbrev=False)
    for option in OPTIONS:
        text = f"{option.meaning} [{option.variable}]"
        parser.add_argument(f"--{option.name}", metavar=option.value, help=text)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    flags = vars(parser.parse_args(argv))
    try:
        settings = Settings(**_given(flags, environ))
        _check(settings)
    except ValueError as error:
        parser.error(str(error))
    return settings


def _given(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that were given at all, converted."""
    given: dict[str, Any] = {}
    for option in OPTIONS:
        flag, variable = flags[option.field], environ.get(option.variable)
        if text := flag or variable:
            try:
                given[option.field] = option.convert(text)
            except ValueError as error:
                raise ValueError(f"{f'--{option.name}' if flag else option.variable}: {error}") from error
    return given


def _check(settings: Settings) -> None:
    """ValueError where settings do not go together."""
    missing = [option for option in OPTIONS if option.name.endswith("-token") and not getattr(settings, option.field)]
    if missing and not is_loopback(settings.host):
        names = " and ".join(f"--{option.name} ({option.variable})" for option in missing)
        raise ValueError(f"--host {settings.host} can be reached from elsewhere: set {names}, or bind 127.0.0.1")
    if (settings.grpc_cert is None) != (settings.grpc_key is None):
        raise ValueError("--grpc-cert and --grpc-key go together; only one was given")
    if settings.grpc_client_ca is not None and settings.grpc_cert is None:
        raise ValueError("--grpc-client-ca needs --grpc-cert and --grpc-key")
    if settings.port and settings.port == settings.grpc_port:
        raise ValueError(f"--port and --grpc-port are both {settings.port}")
