"""Other gateways, set up to do the same work for the same request as FlexGate in these benchmarks.

Each module has `command(program, directory, port, origin, routes)`: it writes a configuration into the directory
and returns the command that serves it with one worker, in the foreground. The work: one route among many, found by
path; an API key, refused when it is wrong; a rate limit by client address, far out of reach; a request id for
origin and client; X-Forwarded-For; one request in ten in a JSON log; what the gateway has to take out a failing
origin; kept connections on both sides. Where a gateway cannot do one of these it does less, and its module says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from tests.bench.gateways import envoy, haproxy, nginx, traefik
from tests.bench.invalid import InvalidRunError
from tests.bench.load import KEY, Load
from tests.bench.probe import ask

Command = Callable[[str, Path, int, int, int], list[str]]

_REFUSED = {401, 403, 404}
INSTALLED = Path(".run/gateways")
"""Where `make gateways` puts what it installs."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A contestant: its command, and what it does not do of all that."""

    command: Command
    without: Sequence[str] = ()


GATEWAYS: Mapping[str, Gateway] = {
    "nginx": Gateway(nginx.command, nginx.WITHOUT),
    "haproxy": Gateway(haproxy.command, haproxy.WITHOUT),
    "envoy": Gateway(envoy.command, envoy.WITHOUT),
    "traefik": Gateway(traefik.command, traefik.WITHOUT),
}
"""By the name of the program."""


def program(name: str) -> str | None:
    """The path of a program, as `make gateways` installed it or on PATH; None: it is not here."""
    return which(name, path=str((INSTALLED / "bin").resolve())) or which(name)


def prove_keys(name: str, port: int, load: Load) -> None:
    """InvalidRunError unless a request without a key, and one with another key, is refused."""
    for key in (None, f"not-{KEY}"):
        if (status := ask(port, load, key=key).status) not in _REFUSED:
            raise InvalidRunError(f"{name} answered {status} with the key {key}: it does not look at keys")
