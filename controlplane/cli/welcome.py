"""What `flexgate start` prints once everything is ready: what to type next."""

from __future__ import annotations

from pathlib import Path

from controlplane.cli.demo_config import KEY

LIMIT = 20
"""Requests a minute to /limited in the starter."""


def welcome(gateway: str, rest: str, file: Path, run_dir: Path, program: str, *, demo: bool) -> str:
    """The text; `gateway` and `rest` are URLs, `program` is how the user typed `flexgate`."""
    url = "" if rest == "http://127.0.0.1:8080" else f" --url {rest}"
    lines = ["", "FlexGate is running. Try, in another terminal:", ""]
    lines += [f"  {line}" for line in (_demo(gateway) if demo else [f"curl -i {gateway}/"])]
    lines += [
        "",
        f"  {program} status{url}",
        f"  curl {rest}/api/nodes",
        "",
        f"Edit {file}: it is applied within a second. Logs are in {run_dir}/*.log. Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def _demo(gateway: str) -> list[str]:
    return [
        f"curl -i {gateway}/demo/hello",
        f"curl -i {gateway}/keyed/hello                             # 401: this route wants a key",
        f"curl -i -H 'X-API-Key: {KEY}' {gateway}/keyed/hello",
        f"for n in $(seq {LIMIT + 1}); do curl -s -o /dev/null -w '%{{http_code}} ' {gateway}/limited/hello; done"
        "  # 429 in the end",
    ]
