"""A real OpenID Connect provider under the test's control: npm's oidc-provider, run by Node on a free port.

Its packages are installed once, from tests/support/oidc/package-lock.json. `User` logs in there as a browser would.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.support.servers import needed

DIRECTORY = Path(__file__).parent / "oidc"
SECRET = "a client's secret: +/=%"
DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """A provider that answers; it knows ada, bob and eve, with the groups platform, oncall and marketing."""

    issuer: str

    async def rotate(self) -> None:
        """Sign with another key from now on, and forget who has logged in."""
        async with aiohttp.ClientSession() as session, session.post(f"{self.issuer}/test/rotate") as answer:
            assert answer.status == 200


class User:
    """Somebody with a browser, at the provider."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def log_in(self, url: str, redirect: str) -> str:
        """Follow the provider's pages, log in and agree; the URL that it sends the browser back to at the end."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            method, form = "GET", None
            for _ in range(12):
                async with session.request(method, url, data=form, allow_redirects=False) as answer:
                    text = await answer.text()
                    if 300 <= answer.status < 400:
                        method, form, url = "GET", None, urljoin(url, answer.headers["Location"])
                        if url.startswith(redirect):
                            return url
                        continue
                assert answer.status == 200, (url, answer.status, text[:500])
                [action] = re.findall(r'<form[^>]* action="([^"]+)"', text)
                [prompt] = re.findall(r'name="prompt" value="([^"]+)"', text)
                method, url = "POST", urljoin(url, action)
                form = {"prompt": prompt, "login": self.name, "password": "any will do"}
        raise AssertionError(f"the provider does not end: {url}")


@asynccontextmanager
async def oidc_provider(redirect: str) -> AsyncIterator[OidcProvider]:
    """A provider whose client `flexgate` may be sent back to this URL; ended after the block.

    Skips the test where Node or its packages are missing; with CI=true that is a failure.
    """
    needed("node", "npm")
    await asyncio.to_thread(_install)
    process = await asyncio.create_subprocess_exec(
        "node", str(DIRECTORY / "provider.mjs"), redirect, SECRET, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            while not (line := await process.stdout.readline()).startswith(b"{"):
                assert line, "the provider did not start"
        yield OidcProvider(json.loads(line)["issuer"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _install() -> None:
    """The packages of the lock, where they are not there yet."""
    lock, done = DIRECTORY / "package-lock.json", DIRECTORY / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
    ended = subprocess.run(command, cwd=DIRECTORY, capture_output=True, text=True, check=False)
    if ended.returncode:
        reason = f"npm ci failed in tests/support/oidc: {ended.stderr.strip()[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
