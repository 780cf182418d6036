"""Single requests to a local port: is it ready, and does it answer what it should?"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.bench.invalid import InvalidRunError
from tests.bench.load import KEY, KEY_HEADER, Load
from tests.bench.process import Process

_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, load: Load, *, key: str | None = KEY, timeout: float = 10.0) -> Answer:
    """One request of a load, on a connection of its own; InvalidRunError where there is no answer.

    `key`: None for a request without any credential.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {} if key is None else {KEY_HEADER: key}
        if load.bearers and key is not None:
            headers["Authorization"] = f"Bearer {load.bearers[0]}"
        connection.request(load.method, load.path, b"b" * load.body_bytes or None, headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise InvalidRunError(f"no answer to {load.method} {load.path}: {error!r}") from error
    finally:
        connection.close()


def wait_ready(process: Process, port: int, path: str, seconds: float) -> float:
    """Poll until the path answers 200; the seconds that took. InvalidRunError where it ends or time runs out."""
    started = time.monotonic()
    last = "no answer"
    while (waited := time.monotonic() - started) < seconds:
        if not process.alive:
            raise InvalidRunError(f"{process.name} ended while starting:\n{process.tail()}")
        try:
            status = ask(port, Load(path), timeout=seconds).status
        except InvalidRunError as error:
            last = str(error)
        else:
            if status == http.HTTPStatus.OK:
                return time.monotonic() - started
            last = f"status {status}"
        time.sleep(_POLL_SECONDS)
    raise InvalidRunError(f"{process.name} was not ready after {waited:.0f} s ({last}):\n{process.tail()}")
