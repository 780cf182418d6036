"""Settings: what a data-plane process is told at start, by flags and FLEXGATE_* variables; never changed afterwards.

A flag wins over its variable, and a variable over the default. One table, `OPTIONS`, makes the flags, the variables,
the help text and the conversions. Settings that a configuration may give too (`proxy.port` and so on) are None when
they were not given here. Standard library only: the parent of the workers loads nothing else.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from shared import __version__
from shared.service_links import without_service_links

PROGRAM = "flexgate-dataplane"
AUTO = 0
"""`workers`: one for each processor that this process may use."""
LOG_LEVELS = ("debug", "info", "warn", "error")


@dataclass(frozen=True, slots=True)
class StreamTls:
    """PEM files for the connection to the control plane: whom to trust and, for mTLS, who this node is."""

    ca: Path
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. Exactly one of `config` (alone) and `control_plane` (addresses) is given."""

    config: Path | None = None
    control_plane: tuple[str, ...] = ()
    node_id: str = ""  # who this process is to the control plane: as given, or HOST/0, and with workers NAME/INDEX
    node_name: str = ""  # the same without the worker's number: whom its certificate names
    labels: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    port: int | None = None  # 0: any free one
    admin_host: str = "127.0.0.1"
    admin_port: int | None = None  # of worker 0; see admin_port_from
    workers: int | None = None  # AUTO: as many as processors
    worker_index: int | None = None  # None: not one of several
    worker_count: int = 1  # its siblings and itself
    cache_dir: Path = Path(".flexgate/cache")
    cache_key: bytes | None = field(default=None, repr=False)  # 32 bytes
    seed: Path | None = None
    node_token: str = field(default="", repr=False)
    tls: StreamTls | None = None
    enrol_token: str = field(default="", repr=False)
    ca_fingerprint: str = ""  # hex digits
    trust_after: float = 10.0  # seconds
    report_interval: float = 5.0  # seconds
    drain_delay: float = 1.0  # seconds
    log_level: str | None = None
    dns_servers: tuple[str, ...] = ()  # "address:port"; empty: those of the system
    memory_limit: int = 0  # bytes; 0: none

    @property
    def worker_dir(self) -> Path:
        """Where this process keeps its last-known-good configurations: no two workers share files."""
        return self.cache_dir / f"worker-{self.worker_index or 0}"

    @property
    def identity_file(self) -> Path:
        """Where the certificate is kept that the control plane gave: all workers share it."""
        return self.cache_dir / "identity.pem"

    @property
    def enrols(self) -> bool:
        """Whether this node goes by such a certificate: one of the operator's own comes first."""
        if self.tls is not None and self.tls.cert is not None:
            return False
        return bool(self.enrol_token or self.ca_fingerprint) or self.identity_file.exists()

    def admin_port_from(self, configured: int) -> int:
        """The admin port of this process: the given or else the configured one, plus the worker's index; 0 stays 0."""
        first = configured if self.admin_port is None else self.admin_port
        return first + (self.worker_index or 0) if first else 0


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as operators give it: `--name VALUE`, or FLEXGATE_NAME."""

    name: str
    meaning: str
    value: str
    convert: Callable[[str], Any]  # ValueError where the text is not one
    repeat: bool = False  # a flag may stand several times; its variable is a comma-separated list
    hidden: bool = False
    flag: bool = True

    @property
    def variable(self) -> str:
        return "FLEXGATE_" + self.name.upper().replace("-", "_")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port: give a number from 0 to 65535 (0: any free one)")
    return int(text)


def _address(text: str) -> str:
    host, _, port = text.strip().rpartition(":")
    if not host or (":" in host and not (host.startswith("[") and host.endswith("]"))) or not _port(port):
        raise ValueError(f"{text.strip()!r} is not HOST:PORT")
    return f"{host}:{int(port)}"


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(_address(part) for part in text.split(","))


def _dns_server(text: str) -> str:
    address = _address(text)
    try:
        ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        raise ValueError(
            f"{text!r} is not ADDRESS:PORT, such as 10.0.0.2:53: a name would need a server itself"
        ) from None
    return address


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.strip().partition("=")
    if not name or not equals:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def _fingerprint(text: str) -> str:
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{text!r} is no fingerprint: write sha256: and 64 hex digits, as the control plane shows it")
    return digits


def _workers(text: str) -> int:
    if text == "auto":
        return AUTO
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError(f"{text!r} is not a number of processes: give 1 or more, or auto")
    return int(text)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("the key must be 64 hex digits, such as `openssl rand -hex 32` prints")
    return key


def _not_below(least: float) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise ValueError(f"{text!r} is not a number of seconds, {least:g} or more")
        return value

    return seconds


def _size(text: str) -> int:
    """Bytes: a number, or one of kb, mb or gb."""
    number, unit = text.lower(), 1
    for suffix, factor in (("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30)):
        if number.endswith(suffix):
            number, unit = number.removesuffix(suffix), factor
    if not number.isascii() or not number.isdigit():
        raise ValueError(f"{text!r} is not a size: give bytes, or a number with kb, mb or gb; 0 is no limit")
    return int(number) * unit


def _readable(text: str) -> Path:
    """A file that must be there: said now, in one line, and not when it is needed."""
    try:
        with open(text, "rb"):
            return Path(text)
    except OSError as error:
        raise ValueError(f"cannot read {text}: {error.strerror}") from error


def _level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _name(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{text!r} is not a name")
    return text


OPTIONS = (
    Option("config", "run alone: serve this YAML file and follow its edits", "FILE", Path),
    Option(
        "control-plane", "follow a control plane; several addresses are tried in turn", "HOST:PORT[,...]", _addresses
    ),
    Option("node-id", "who this node is; workers append /INDEX (default: the host's name and /INDEX)", "NAME", _name),
    Option("label", "something to know this node by, such as zone=a; may be repeated", "NAME=VALUE", _label, True),
    Option("host", "address for traffic (default: proxy.host of the configuration, else 0.0.0.0)", "HOST", _name),
    Option("port", "port for traffic (default: proxy.port of the configuration, else 3000)", "N", _port),
    Option("admin-host", "address for health, metrics and config dump (default: 127.0.0.1)", "HOST", _name),
    Option("admin-port", "its port; worker I uses N+I (default: proxy.adminPort, else 3001)", "N", _port),
    Option("workers", "processes that share the port (default: proxy.workers, else 1)", "N|auto", _workers),
    Option("worker-index", "", "I", int, hidden=True),
    Option("worker-count", "", "N", int, hidden=True),
    Option(
        "cache-dir",
        "where the last good configurations are kept (default: $XDG_STATE_HOME/flexgate, else .flexgate/cache)",
        "DIR",
        Path,
    ),
    Option("seed", "configuration for a first boot without a control plane: YAML, or a kept file", "FILE", _readable),
    Option("node-token", "what the control plane knows nodes by (better as a variable)", "TOKEN", _name),
    Option("control-plane-ca", "PEM file: trust these authorities, and use TLS", "FILE", _readable),
    Option("control-plane-cert", "PEM file: this node's certificate, for mutual TLS", "FILE", _readable),
    Option("control-plane-key", "PEM file: its private key", "FILE", _readable),
    Option(
        "enrol-token",
        "get a certificate with this token, once; kept in the cache directory (better as a variable)",
        "TOKEN",
        _name,
    ),
    Option(
        "ca-fingerprint",
        "trust the control plane's own authority by its fingerprint, and use TLS",
        "sha256:HEX",
        _fingerprint,
    ),
    Option("trust-after", "keep a revision on disk once it served this long (default: 10)", "SECONDS", _not_below(0)),
    Option("report-interval", "send measurements this often (default: 5)", "SECONDS", _not_below(0.01)),
    Option(
        "drain-delay",
        "after SIGTERM, go on accepting for so long while not ready (default: 1)",
        "SECONDS",
        _not_below(0),
    ),
    Option(
        "dns-server",
        "ask this server for the names of endpoints, not those of the system; may be repeated",
        "ADDRESS:PORT",
        _dns_server,
        True,
    ),
    Option("log-level", "debug, info, warn or error (default: logging.level, else info)", "LEVEL", _level),
    Option(
        "memory-limit",
        "shed load from 80 %% of so much memory on, accept no connection from 95 %% on; of each worker (default: none)",
        "SIZE",
        _size,
    ),
    Option("cache-key", "", "KEY", _key, flag=False),
)

EPILOG = (
    "Each flag has a variable: --admin-port is FLEXGATE_ADMIN_PORT; a flag wins over its variable. "
    "FLEXGATE_CACHE_KEY (64 hex digits) encrypts the kept configurations; without it a key file is made beside them."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 2, without the usage text."""
        self.exit(2, f"{self.prog}: {message}\n")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings given by these arguments (without the program's name) and variables.

    What is wrong is told in one line on stderr, with exit code 2 (SystemExit).
    """
    parser = _parser()
    flags = parser.parse_args(argv)
    environ = without_service_links(environ)
    given: dict[str, Any] = {}
    try:
        for option in OPTIONS:
            name = option.name.replace("-", "_")
            value = getattr(flags, name, None)
            given[name] = value if value is not None else _from_variable(option, environ)
        _choose_source(given, flags)
        return _settings(given, environ)
    except ValueError as error:
        parser.error(str(error))


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM, description="The FlexGate data plane: an HTTP proxy.", epilog=EPILOG, allow_abbrev=False
    )
    for option in OPTIONS:
        if option.flag:
            parser.add_argument(
                f"--{option.name}",
                metavar=option.value,
                type=_for_argparse(option.convert),
                action="append" if option.repeat else "store",
                help=argparse.SUPPRESS if option.hidden else option.meaning,
            )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _for_argparse(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse drops the text of a ValueError and keeps that of its own error."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return converted


def _from_variable(option: Option, environ: Mapping[str, str]) -> Any:
    text = environ.get(option.variable, "")
    if not text or option.hidden:
        return None
    try:
        return [option.convert(part) for part in text.split(",")] if option.repeat else option.convert(text)
    except ValueError as error:
        raise ValueError(f"{option.variable}: {error}") from error


def _choose_source(given: dict[str, Any], flags: argparse.Namespace) -> None:
    """Exactly one source; one given by flag wins over another given by variable."""
    if flags.config is not None and flags.control_plane is None:
        given["control_plane"] = None
    elif flags.control_plane is not None and flags.config is None:
        given["config"] = None
    if (given["config"] is None) == (given["control_plane"] is None):
        both = "not both" if given["config"] is not None else "nothing was given"
        raise ValueError(f"give --config FILE to run alone or --control-plane HOST:PORT to follow one; {both}")


def _settings(given: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    name, index = given.pop("node_id"), given["worker_index"]
    if index is None and name is not None:
        given["node_id"] = name
    else:
        # A node that was given no name is HOST/0 from the start: it keeps its id when it gets siblings.
        given["node_id"] = f"{name or socket.gethostname()}/{index or 0}"
    given["node_name"] = name or socket.gethostname()
    given["labels"] = dict(given.pop("label") or ())
    given["dns_servers"] = tuple(given.pop("dns_server") or ())
    given["tls"] = _tls(*(given.pop(f"control_plane_{part}") for part in ("ca", "cert", "key")))
    if given["enrol_token"] and given["tls"] is None and not given["ca_fingerprint"]:
        raise ValueError("--enrol-token needs --ca-fingerprint or --control-plane-ca: whom may this node show it to?")
    if given["tls"] is not None and given["ca_fingerprint"]:
        raise ValueError("--ca-fingerprint and --control-plane-ca both say whom to trust; keep one")
    state = environ.get("XDG_STATE_HOME")
    if given["cache_dir"] is None and state:
        given["cache_dir"] = Path(state, "flexgate")
    return Settings(**{key: value for key, value in given.items() if value is not None})


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> StreamTls | None:
    if (cert is None) != (key is None):
        raise ValueError("--control-plane-cert and --control-plane-key go together; only one was given")
    if ca is None:
        if cert is not None:
            raise ValueError("--control-plane-cert needs --control-plane-ca: whom should this node trust?")
        return None
    return StreamTls(ca, cert, key)
