"""How a control plane is started: flags and environment, read once. Configuration (routes and so on) is not here."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from controlplane import setting_values as values
from controlplane.auth.address import Network, is_loopback, networks
from controlplane.auth.parts import REQUESTS, AuthSettings, OidcSettings
from controlplane.auth.role_mapping import parsed as parsed_roles
from controlplane.store.pruning import KEEP, Keep
from shared import __version__
from shared.service_links import without_service_links

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
    rest_cert: Path | None = None
    rest_key: Path | None = None
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
    keep_revisions: int = KEEP.revisions
    keep_revisions_for: float = KEEP.revisions_for
    keep_audit_for: float = KEEP.audit_for
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
    def keep(self) -> Keep:
        """How much of the history stays."""
        return Keep(self.keep_revisions, self.keep_revisions_for, self.keep_audit_for)

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
            self.rest_cert is not None,
        )


def default_database(state_dir: Path) -> str:
    """The URL of the SQLite file in a state directory."""
    return f"sqlite:///{state_dir / 'flexgate.db'}"


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
    Option("port", "FLEXGATE_CP_PORT", "N", values.port, "REST port (default 8080)"),
    Option(
        "grpc-port", "FLEXGATE_CP_GRPC_PORT", "N", values.port, "gRPC port: stream, telemetry, admin (default 50051)"
    ),
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
    Option("rest-cert", "FLEXGATE_CP_REST_CERT", "FILE", Path, "PEM certificate chain: TLS on the REST port"),
    Option("rest-key", "FLEXGATE_CP_REST_KEY", "FILE", Path, "its PEM key"),
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
        values.origin,
        "where browsers reach the REST port; https makes cookies secure",
    ),
    Option(
        "api-rate-limit",
        "FLEXGATE_CP_API_RATE_LIMIT",
        "N",
        values.count,
        "requests a minute to /api for each credential (default 100, 0: no limit)",
    ),
    Option(
        "trusted-proxies",
        "FLEXGATE_CP_TRUSTED_PROXIES",
        "NETWORKS",
        networks,
        "whose X-Forwarded-For is believed: 10.0.0.0/8,::1",
    ),
    Option(
        "oidc-issuer", "FLEXGATE_OIDC_ISSUER", "URL", values.issuer, "OpenID Connect provider that people log in with"
    ),
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
        values.switch,
        "TLS on the gRPC port with a certificate of the control plane's own authority, for enrolment (default off)",
    ),
    Option(
        "grpc-names",
        "FLEXGATE_CP_GRPC_NAMES",
        "NAME[,...]",
        values.names,
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
        values.lifetime,
        "how long the certificate of an enrolled node is good (default 7d)",
    ),
    Option(
        "keep-revisions",
        "FLEXGATE_CP_KEEP_REVISIONS",
        "N",
        values.positive,
        "how many revisions are kept in any case, however old (default 1000)",
    ),
    Option(
        "keep-revisions-for",
        "FLEXGATE_CP_KEEP_REVISIONS_FOR",
        "TIME",
        values.keeping,
        "how long revisions beyond these are kept: a number with h or d, or forever (default 90d)",
    ),
    Option(
        "keep-audit-for",
        "FLEXGATE_CP_KEEP_AUDIT_FOR",
        "TIME",
        values.keeping,
        "how long the audit log is kept (default 400d)",
    ),
    Option(
        "heartbeat",
        "FLEXGATE_CP_HEARTBEAT",
        "SECONDS",
        values.seconds,
        "interval of heartbeats on the stream (default 5)",
    ),
    Option("log-level", "FLEXGATE_CP_LOG_LEVEL", "LEVEL", values.level, "debug, info, warn or error (default info)"),
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
        settings = Settings(**_given(flags, without_service_links(environ)))
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
    for kind in ("rest", "grpc", "ca"):
        if (getattr(settings, f"{kind}_cert") is None) != (getattr(settings, f"{kind}_key") is None):
            raise ValueError(f"--{kind}-cert and --{kind}-key go together; only one was given")
    if settings.rest_cert is not None and settings.public_url.startswith("http:"):
        raise ValueError("--public-url is http, but the REST port speaks TLS (--rest-cert): write https")
    if settings.grpc_client_ca is not None and not settings.tls:
        raise ValueError("--grpc-client-ca needs TLS: --grpc-cert and --grpc-key, or --grpc-tls on")
    if settings.port and settings.port == settings.grpc_port:
        raise ValueError(f"--port and --grpc-port are both {settings.port}")
