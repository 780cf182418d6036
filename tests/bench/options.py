"""What the command line asks for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure and what. `only` is empty for every case; `seconds` is the length of one measured window."""

    rounds: int
    seconds: int
    quick: bool
    only: tuple[str, ...]
    listing: bool
    json: Path

    @property
    def stream_bytes(self) -> int:
        """The length of the body in the streaming case."""
        return 1 << 26 if self.quick else 1 << 30


def parse(argv: Sequence[str], cases: Sequence[str]) -> Options:
    """The options of a command line; exits with argparse's message where it is wrong. `cases` are the known names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure FlexGate in ratios.")
    parser.add_argument("--rounds", type=_positive, help="how often each contestant takes its turn (default 5)")
    parser.add_argument("--seconds", type=_positive, help="length of one measured window (default 4)")
    parser.add_argument("--quick", action="store_true", help="one round of one second: to see that it works")
    parser.add_argument("--only", action="append", default=[], choices=cases, metavar="NAME", help="run only this case")
    parser.add_argument("--list", action="store_true", dest="listing", help="list the cases and stop")
    parser.add_argument(
        "--json", type=Path, default=Path(".run/bench.json"), help="where the result goes (%(default)s)"
    )
    given = parser.parse_args(argv)
    return Options(
        rounds=given.rounds or (1 if given.quick else 5),
        seconds=given.seconds or (1 if given.quick else 4),
        quick=given.quick,
        only=tuple(given.only),
        listing=given.listing,
        json=given.json,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number
