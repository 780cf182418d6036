"""wrk as a library: a script that reports exact numbers in JSON, and the reading of it.

wrk's own text rounds ("1.02GB", "12.34k"); its Lua hook `done` is called once, after the load, and knows the counts.
A request has no hook of its own, so the script costs the load nothing; only several tokens need one, which hands out
requests that were made before.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.bench.invalid import InvalidRunError
from tests.bench.load import KEY, KEY_HEADER, Load

_MARK = "bench-result "
_REQUEST_TIMEOUT = "10s"
_GRACE_SECONDS = 30

_DONE = f"""
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{_MARK}{{"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,'
    .. '"errors":{{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d}}}}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""

_TURNS = """
local requests, turn = {}, 0
init = function(args)
  for number, token in ipairs(tokens) do
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[number] = wrk.format()
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


@dataclass(frozen=True, slots=True)
class Count:
    """What one wrk run did. `bytes` were received, heads included; `errors` are socket errors and refused statuses."""

    requests: int
    seconds: float
    bytes: int
    p50_ms: float
    p99_ms: float
    errors: Mapping[str, int]


def script(load: Load) -> str:
    """The Lua script that sends this load and reports on it."""
    lines = [f'wrk.method = "{load.method}"', f'wrk.headers["{KEY_HEADER}"] = "{KEY}"']
    if load.body_bytes:
        lines.append('wrk.headers["Content-Type"] = "application/octet-stream"')
        lines.append(f'wrk.body = string.rep("b", {load.body_bytes})')
    if len(load.bearers) == 1:
        lines.append(f'wrk.headers["Authorization"] = "Bearer {load.bearers[0]}"')
    elif load.bearers:
        lines.append(f"local tokens = {{{', '.join(map(repr, load.bearers))}}}")
        lines.append(_TURNS)
    return "\n".join(lines) + "\n" + _DONE


def parse(output: str) -> Count:
    """The result line in wrk's output; InvalidRunError where there is none."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            result = orjson.loads(line.removeprefix(_MARK))
            return Count(
                requests=result["requests"],
                seconds=result["duration_us"] / 1e6,
                bytes=result["bytes"],
                p50_ms=result["p50_us"] / 1e3,
                p99_ms=result["p99_us"] / 1e3,
                errors=result["errors"],
            )
    raise InvalidRunError(f"wrk gave no result: {output.strip()[-500:] or 'no output'}")


def faults(count: Count) -> list[str]:
    """Why a run does not count; empty where it does. wrk's `status` is every answer above 399."""
    found = [f"{number} {kind} errors" for kind, number in count.errors.items() if number]
    return found if count.requests else [*found, "no request was answered"]


def start(port: int, load: Load, seconds: int, directory: Path) -> subprocess.Popen[str]:
    """Begin a run on the loopback port; it inherits the cores of this process, which are those of the load."""
    path = directory / "load.lua"
    path.write_text(script(load))
    command = ["wrk", "--threads", "1", "--connections", str(load.connections), "--duration", f"{seconds}s"]
    command += ["--timeout", _REQUEST_TIMEOUT, "--script", str(path), f"http://127.0.0.1:{port}{load.path}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], seconds: int) -> Count:
    """Wait for a run that was begun; InvalidRunError where it does not end."""
    try:
        output, _ = process.communicate(timeout=seconds + _GRACE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InvalidRunError(f"wrk did not end within {seconds + _GRACE_SECONDS} s") from error
    finally:
        process.kill()  # no effect on one that has ended; also when a signal ends the benchmark
        process.wait()
    return parse(output)
