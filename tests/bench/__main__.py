"""The command: check the machine, run the cases one after the other, print, write JSON.

Exit code 0 where every run was valid, whatever the figures; 1 where one was not; 2 where the machine cannot run them.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import orjson

from tests.bench import report
from tests.bench.cases import CASES, Case
from tests.bench.cores import Cores, claim
from tests.bench.invalid import InvalidRunError, UnfitMachineError
from tests.bench.machine import describe, require_tools
from tests.bench.options import Options, parse
from tests.bench.outcome import Outcome
from tests.bench.stage import Stage


def main(argv: Sequence[str]) -> int:
    """Run the command line; the exit code."""
    options = parse(argv, list(CASES))
    if options.listing:
        print("\n".join(f"{name:14} {case.title}" for name, case in CASES.items()))
        return 0
    try:
        chosen = [case for name, case in CASES.items() if not options.only or name in options.only]
        require_tools(dict.fromkeys(tool for case in chosen for tool in case.tools))
        cores = claim()
    except UnfitMachineError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    outcomes = measure(options, cores)
    return 1 if any(outcome.invalid for outcome in outcomes.values()) else 0


def measure(options: Options, cores: Cores) -> dict[str, Outcome]:
    """Run every chosen case, show each as it ends, and write all of them to the JSON file."""
    machine = describe(cores)
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), end="\n\n")
    outcomes: dict[str, Outcome] = {}
    for name, case in CASES.items():
        if not options.only or name in options.only:
            outcomes[name] = run(case, options, cores)
            print(report.text(case.title, outcomes[name]), flush=True)
    print(report.summary(outcomes))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_bytes(orjson.dumps(report.data(machine, options, outcomes), option=orjson.OPT_INDENT_2) + b"\n")
    print(f"written to {options.json}")
    return outcomes


def run(case: Case, options: Options, cores: Cores) -> Outcome:
    """One case on a stage of its own; a run that does not count becomes an outcome that says so."""
    try:
        with Stage(options, cores) as stage:
            return case.run(stage)
    except (InvalidRunError, ProcessLookupError) as error:
        return Outcome(invalid=str(error))


def _leave(number: int, frame: FrameType | None) -> None:
    """A signal ends the run like an exception does: stages close and take their processes with them."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
