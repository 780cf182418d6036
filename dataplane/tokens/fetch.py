"""One fetch of the keys at a URL: look the host up, ask, read what a set of keys is (RFC 7517, 5)."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson
from aiohttp import ClientError

from dataplane.errors import ConnectFailed
from dataplane.tokens.refreshing import FetchFailed
from dataplane.upstream.located import located
from dataplane.upstream.lookup import LookUp, LookUpFailed
from dataplane.upstream.single_get import single_get
from shared import __version__
from shared.jws import KeySet

if TYPE_CHECKING:
    from dataplane.runtime import Guard

FETCH_SECONDS: Final = 5.0
LARGEST: Final = 1024 * 1024
"""Bytes of an answer; the largest providers stay below a tenth of it."""
_AGENT: Final = f"FlexGate-key-fetch/{__version__}"


async def fetch(url: str, guard: Guard, look_up: LookUp) -> bytes:
    """What the URL answers with; FetchFailed where that is not to be had within FETCH_SECONDS."""
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            endpoint = located(url, tls=_trust())
            if not endpoint.ips:
                endpoint = replace(endpoint, ips=(await look_up(endpoint.host)).addresses)
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            status, content = await single_get(endpoint, guard, target, _AGENT, most=LARGEST + 1)
    except TimeoutError:
        raise FetchFailed(f"no answer within {FETCH_SECONDS:g} s") from None
    except ConnectFailed as error:
        raise FetchFailed(error.detail) from error
    except LookUpFailed as error:
        raise FetchFailed(f"the host cannot be looked up: {error}") from error
    except (ClientError, OSError, EOFError, ValueError) as error:
        raise FetchFailed(str(error) or type(error).__name__) from error
    if status != 200:
        raise FetchFailed(f"it answered {status}")
    if len(content) > LARGEST:
        raise FetchFailed(f"it answered more than {LARGEST} bytes")
    return content


def key_set(content: bytes) -> KeySet:
    """The keys in an answer; FetchFailed where it has none that could be used."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise FetchFailed("it did not answer with a set of keys, a JSON object with `keys`")
    # A secret that was published is none: only public keys count.
    keys = KeySet(key for key in listed if isinstance(key, dict) and key.get("kty") != "oct")
    if len(keys) == len(keys.faults):
        why = f": {keys.faults[0][1]}" if keys.faults else ""
        raise FetchFailed(f"it answered with no key that can be used{why}")
    return keys


@cache
def _trust() -> ssl.SSLContext:
    """The authorities of the system, or those that SSL_CERT_FILE names."""
    return ssl.create_default_context()
