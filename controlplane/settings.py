"""How a control plane is started: flags and environment, read once. Configuration (routes and so on) is not here."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from controlplane.auth.address import Network, networks
from controlplane.auth.parts import REQUESTS, AuthSettings, OidcSettings
from controlplane.auth.role_mapping import parsed as parsed_roles
from shared import __version__
from shared.log import LEVELS

PROGRAM = "flexgate-controlplane"


@dataclass(frozen=True, slots=True)
class Settings:
    """`heartbeat` is in seconds; a port of 0 takes any free one.

    Without a `config` file the database is the truth; without an admin token there are those of the database; without
    a node token none is asked for.
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
    public_url: str = ""
    api_rate_limit: int = REQUESTS
    trusted_proxies: tuple[Network, ...] = ()
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    oidc_scopes: str = "openid profile email"
    oidc_role_claim: str = "groups"
    oidc_roles: tuple[tuple[str, str], ...] = ()
    grpc_tls: bool = False
    grpc_names: tuple[str, ...] = ()
    ca_cert: Path | None = None
    ca_key: Path | None = None
    node_certificate_lifetime: float = 7 * 86_400.0  # seconds
    heartbeat: float = 5.0
    log_level: str = "info"

    @property
    def tls(self) -> bool:
        """Whether the gRPC port speaks TLS."""
        return self.grpc_tls or self.grpc_cert is not None

    @property
    def database_url(self) -> str:
        """Where the database is; without a word about it, a file in the state directory."""
        return self.database or default_database(self.state_dir)

    @property
    def auth(self) -> AuthSettings:
        """What concerns access."""
        oidc = OidcSettings(
            self.oidc_issuer,
            self.oidc_client_id,
            self.oidc_client_secret,
            self.oidc_scopes,
            self.oidc_role_claim,
            self.oidc_roles,
        )
        return AuthSettings(
            self.admin_token,
            self.public_url,
            is_loopback(self.host),
            self.api_rate_limit,
            self.trusted_proxies,
            oidc,
        )


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


def _switch(text: str) -> bool:
    if text in {"on", "off"}:
        return text == "on"
    raise ValueError(f"{text!r} is neither on nor off")


def _lifetime(text: str) -> float:
    """Seconds, or a number with m, h or d."""
    number, unit = text[:-1], {"m": 60, "h": 3600, "d": 86_400}.get(text[-1:], 0)
    if not unit:
        number, unit = text, 1
    if not number.isascii() or not number.isdigit() or not 60 <= int(number) * unit <= 366 * 86_400:
        raise ValueError(f"{text!r} is no time from 60 seconds to a year: write seconds, or a number with m, h or d")
    return float(int(number) * unit)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _level(text: str) -> str:
    if text.lower() in LEVELS:
        return text.lower()
    raise ValueError(f"{text!r} is not one of {', '.join(LEVELS)}")


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and not parts.fragment:
        return text
    raise ValueError(f"{text!r} is not a URL such as https://flexgate.example.com")


def _origin(text: str) -> str:
    if urlsplit(_url(text)).path.strip("/"):
        raise ValueError(f"{text!r} has a path; the API is at the root of its host")
    return text.rstrip("/")


def _issuer(text: str) -> str:
    """As the provider writes it: a slash at its end counts."""
    parts = urlsplit(_url(text))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{text!r} is http; only a provider on this machine can be believed without TLS")
    return text


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 1_000_000:
        return int(text)
    raise ValueError(f"{text!r} is not a number from 0 to 1000000")


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
    Option(
        "admin-token",
        "FLEXGATE_ADMIN_TOKEN",
        "TOKEN",
        str,
        "an admin's bearer token, beside those of the database (better as a variable); without one, one is made once",
    ),
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
        "public-url",
        "FLEXGATE_CP_PUBLIC_URL",
        "URL",
        _origin,
        "where browsers reach the REST port; https makes cookies secure",
    ),
    Option(
        "api-rate-limit",
        "FLEXGATE_CP_API_RATE_LIMIT",
        "N",
        _count,
        "requests a minute to /api for each credential (default 100, 0: no limit)",
    ),
    Option(
        "trusted-proxies",
        "FLEXGATE_CP_TRUSTED_PROXIES",
        "NETWORKS",
        networks,
        "whose X-Forwarded-For is believed: 10.0.0.0/8,::1",
    ),
    Option("oidc-issuer", "FLEXGATE_OIDC_ISSUER", "URL", _issuer, "OpenID Connect provider that people log in with"),
    Option("oidc-client-id", "FLEXGATE_OIDC_CLIENT_ID", "ID", str, "what we are called there"),
    Option("oidc-client-secret", "FLEXGATE_OIDC_CLIENT_SECRET", "SECRET", str, "our secret there, if there is one"),
    Option("oidc-scopes", "FLEXGATE_OIDC_SCOPES", "SCOPES", str, 'default "openid profile email"'),
    Option("oidc-role-claim", "FLEXGATE_OIDC_ROLE_CLAIM", "CLAIM", str, "whose values give roles (default groups)"),
    Option(
        "oidc-roles",
        "FLEXGATE_OIDC_ROLES",
        "VALUE=ROLE,...",
        lambda text: tuple(parsed_roles(text).items()),
        "which values give which role: platform=admin,oncall=operator,*=viewer",
    ),
    Option(
        "grpc-tls",
        "FLEXGATE_CP_GRPC_TLS",
        "on|off",
        _switch,
        "TLS on the gRPC port with a certificate of the control plane's own authority, for enrolment (default off)",
    ),
    Option(
        "grpc-names",
        "FLEXGATE_CP_GRPC_NAMES",
        "NAME[,...]",
        _names,
        "names and addresses of the gRPC port in that certificate, for clients that are not enrolled nodes",
    ),
    Option(
        "ca-cert",
        "FLEXGATE_CP_CA_CERT",
        "FILE",
        Path,
        "PEM authority that signs nodes (default: made, kept in the database)",
    ),
    Option("ca-key", "FLEXGATE_CP_CA_KEY", "FILE", Path, "its PEM key"),
    Option(
        "node-certificate-lifetime",
        "FLEXGATE_CP_NODE_CERTIFICATE_LIFETIME",
        "TIME",
        _lifetime,
        "how long the certificate of an enrolled node is good (default 7d)",
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
    # With TLS a node can have a certificate instead of the token.
    if not settings.node_token and not settings.tls and not is_loopback(settings.host):
        name = "--grpc-tls on, or --node-token (FLEXGATE_NODE_TOKEN)"
        raise ValueError(f"--host {settings.host} can be reached from elsewhere: set {name}, or bind 127.0.0.1")
    if settings.oidc_issuer and not (settings.oidc_client_id and settings.public_url and settings.oidc_roles):
        raise ValueError("--oidc-issuer needs --oidc-client-id, --oidc-roles and --public-url")
    if settings.oidc_issuer and "openid" not in settings.oidc_scopes.split():
        raise ValueError("--oidc-scopes: openid must be one of them")
    if (settings.grpc_cert is None) != (settings.grpc_key is None):
        raise ValueError("--grpc-cert and --grpc-key go together; only one was given")
    if (settings.ca_cert is None) != (settings.ca_key is None):
        raise ValueError("--ca-cert and --ca-key go together; only one was given")
    if settings.grpc_client_ca is not None and not settings.tls:
        raise ValueError("--grpc-client-ca needs TLS: --grpc-cert and --grpc-key, or --grpc-tls on")
    if settings.port and settings.port == settings.grpc_port:
        raise ValueError(f"--port and --grpc-port are both {settings.port}")
