"""What `flexgate start` prints once everything is ready: what to type next."""

from __future__ import annotations

from pathlib import Path

from controlplane.auth.token_file import FILE
from controlplane.cli.demo_config import KEY
from controlplane.cli.target import DEFAULT_URL, STATE_DIRECTORIES

LIMIT = 20
"""Requests a minute to /limited in the starter."""


def welcome(
    gateway: str, rest: str, file: Path | None, run_dir: Path, program: str, *, demo: bool, token_set: bool
) -> str:
    """The text; `gateway` and `rest` are URLs, `program` is how the user typed `flexgate`.

    `token_set`: the admin token is in FLEXGATE_ADMIN_TOKEN, and so in no file.
    """
    directory = run_dir / "control-plane"
    token = "$FLEXGATE_ADMIN_TOKEN" if token_set else f"$(cat {directory / FILE})"
    found = "" if token_set or directory in STATE_DIRECTORIES else f"FLEXGATE_CP_STATE_DIR={directory} "
    usual = directory in STATE_DIRECTORIES or rest == DEFAULT_URL  # else it is found by its state directory
    url = "" if usual else f" --url {rest}"
    edit = (
        f"Edit {file}: it is applied within a second."
        if file
        else f"Its configuration is in a database: `{program} apply FILE` changes it."
    )
    lines = ["", "FlexGate is running. Try, in another terminal:", ""]
    lines += [f"  {line}" for line in (_demo(gateway) if demo else [f"curl -i {gateway}/"])]
    lines += [
        "",
        f"  {found}{program} status{url}",
        f'  curl -H "Authorization: Bearer {token}" {rest}/api/nodes',
        "",
        f"{edit} Logs are in {run_dir}/*.log. Ctrl-C stops everything.",
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
