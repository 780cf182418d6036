"""What operators are shown of a configuration: everything but its secrets, whatever else stands in it."""

from __future__ import annotations

import io
import json
from typing import Any

from google.protobuf.json_format import MessageToDict, MessageToJson
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.access_log import LogWriter
from dataplane.config_dump import config_dump
from dataplane.node import Node
from shared.pb.resources_pb2 import Auth, Config, HeaderRules
from shared.redact import HIDDEN, redacted
from tests.property.config_documents import CONFIGS
from tests.unit.engine_bench import bench, routed, tabled

SECRET = "5ecret-"
"""In every secret that a test makes up, and in nothing else."""
PASSWORDS = st.text("ab/@:?#", max_size=6).map(lambda text: SECRET + text + SECRET)
SECRET_HEADERS = ["Authorization", "X-Auth-Token", "Cookie", "x-api-key", "Proxy-Authorization", "X-Client-Secret"]


@st.composite
def with_secrets(draw: st.DrawFn) -> Config:
    """A configuration of any content, with a secret wherever one can stand."""
    config = draw(CONFIGS)
    for credential in config.credentials:
        credential.secret = SECRET
        if credential.type in ("", "apiKey"):
            credential.key = SECRET
    _fill(config.settings.security.auth, draw(PASSWORDS))
    config.settings.rate_limit.redis.url = f"redis://user:{draw(PASSWORDS)}@redis:6379/0"
    config.settings.tracing.otlp.endpoint = f"http://user:{draw(PASSWORDS)}@collector/v1"
    for route in config.routes:
        _fill(route.auth, draw(PASSWORDS))
        for rules in (route.request_headers, route.response_headers):
            _set(rules, draw(st.sampled_from(SECRET_HEADERS)))
    return config


def _fill(auth: Auth, password: str) -> None:
    auth.client_secret = SECRET
    auth.keys.add(key=SECRET, name="known")
    auth.introspection_url = f"https://user:{password}@issuer/introspect"
    auth.jwks_url = f"https://user:{password}@issuer/keys"
    key = dict.fromkeys(("k", "d", "p", "q", "dp", "dq", "qi"), SECRET) | {"kty": "oct", "kid": "shown"}
    auth.jwks.Clear()
    auth.jwks.update({"keys": [key, {"oth": [{"r": SECRET}]}], "k": SECRET})


def _set(rules: HeaderRules, name: str) -> None:
    rules.set[name] = SECRET
    rules.add[name.lower()] = SECRET


@settings(max_examples=60)
@given(with_secrets())
def test_no_secret_is_shown(config: Config) -> None:
    """None of them, in none of the places, in whatever company."""
    before = config.SerializeToString(deterministic=True)
    shown = MessageToJson(redacted(config), ensure_ascii=False)
    assert SECRET not in shown
    assert "shown" in shown  # what is public of a key stays
    assert config.SerializeToString(deterministic=True) == before


def test_everything_else_is_shown() -> None:
    """A dump that hides too much helps nobody."""
    with bench() as worker:
        node = Node(worker.live.loop, LogWriter(io.BytesIO()))
        assert config_dump(node)["config"] is None
        node.apply(tabled(_document()), 7)
        found = config_dump(node)
    assert found["revision"] == 7
    json.dumps(found)
    config = found["config"]
    assert SECRET not in json.dumps(config)
    assert "0" * 64 not in json.dumps(config)
    assert config["settings"]["security"]["auth"]["keys"] == [{"key": HIDDEN, "name": "A"}]
    assert config["settings"]["rateLimit"]["redis"]["url"] == f"redis://u:{HIDDEN}@redis:6379"
    route = config["routes"][0]
    assert route["requestHeaders"]["set"] == {"Authorization": HIDDEN, "X-Shown": "yes"}
    assert (route["path"], route["upstream"], config["upstreams"][0]["name"]) == ("/*", "origin", "origin")
    assert config["credentials"][0]["consumer"] == "shop"


def test_the_served_configuration_is_not_touched() -> None:
    """Redacting works on a copy: the keys still let clients in."""
    with bench() as worker:
        node = Node(worker.live.loop, LogWriter(io.BytesIO()))
        node.apply(tabled(_document()), 7)
        assert node.compiled is not None
        before = MessageToDict(node.compiled.settings)
        config_dump(node)
        assert MessageToDict(node.compiled.settings) == before
        assert "0" * 64 in json.dumps(before)


def _document() -> dict[str, Any]:
    key = "0" * 64
    credential = {"name": "c", "consumer": "shop", "type": "basic", "key": "user", "secret": SECRET}
    return routed(requestHeaders={"set": {"Authorization": SECRET, "X-Shown": "yes"}}) | {
        "security": {"auth": {"type": "apiKey", "keys": [{"key": key, "name": "A"}]}},
        "rateLimit": {"redis": {"url": f"redis://u:{SECRET}@redis:6379"}},
        "consumers": [{"name": "shop"}],
        "credentials": [credential],
    }
