"""Configurations compiled, against what a person read and found right: compile/NAME.yml -> compile/NAME.json.

After a wanted change, `GOLDEN=write pytest tests/golden` writes the files anew; the diff is the review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shared.document import read_file
from shared.table import table_of
from tests.golden.description import described
from tests.unit.engine_bench import bench

CASES = sorted((Path(__file__).parent / "compile").glob("*.yml"))


@pytest.mark.parametrize("source", CASES, ids=lambda path: path.stem)
def test_compiles_to(source: Path) -> None:
    """Routes, upstreams, times, limits and the order of filters are what the file says."""
    with bench() as worker:
        found = described(worker.serve(table_of(read_file(source).config)))
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    expected = source.with_suffix(".json")
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(expected.read_text(encoding="utf-8"))


def test_every_answer_has_its_question() -> None:
    """No golden file is left over from a case that is gone."""
    assert {path.stem for path in CASES} == {path.stem for path in CASES[0].parent.glob("*.json")}
