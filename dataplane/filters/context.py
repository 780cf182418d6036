"""What filters may know at compile: settings, credentials, consumers, and the live state they go on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataplane.live import Live
from shared.authentication import effective
from shared.pb.resources_pb2 import Auth, Consumer, Credential, Route, Settings


@dataclass(frozen=True, slots=True)
class Context:
    settings: Settings
    credentials: Mapping[str, Credential]
    consumers: Mapping[str, Consumer]
    live: Live
    made: dict[bytes, Any] = field(default_factory=dict)
    """What routes have in common, by what it was made of: made once, held once."""


def auth_of(route: Route, settings: Settings) -> Auth:
    """The authentication that applies to a route: its own, its missing parts taken from `security.auth`."""
    return effective(route.auth, settings.security.auth)
