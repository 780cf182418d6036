"""The configuration of `flexgate start --demo`: the starter, and one route that wants an API key."""

from __future__ import annotations

import re
from hashlib import sha256

from controlplane.cli.init import starter

KEY = "demo-key"
STARTER_UPSTREAM = "127.0.0.1:9000"
LAST_ROUTE = "  # Everything else.\n"

KEYED_ROUTE = f"""\
  # Only with a key: curl -H 'X-API-Key: {KEY}'. Without one it answers 401.
  - path: /keyed/*
    upstream: demo
    auth: required

"""

SECURITY = f"""
# The demo's key, which everyone knows: never leave it in a configuration that serves others.
security:
  auth:
    type: apiKey
    header: X-API-Key
    keys:
      - {{name: demo, key: "{sha256(KEY.encode()).hexdigest()}"}}
"""


def demo_config(upstream: str) -> str:
    """YAML for a demo upstream at this host:port."""
    text = starter().replace(STARTER_UPSTREAM, upstream)
    return text.replace(LAST_ROUTE, KEYED_ROUTE + LAST_ROUTE) + SECURITY


def is_untouched(text: str) -> bool:
    """Whether this is what `demo_config` writes, for whatever port: nobody has made it their own yet."""
    found = re.search(r"url: http://([0-9.:]+)$", text, re.MULTILINE)
    return found is not None and text == demo_config(found[1])
