"""What the benchmark prints and writes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.bench import report
from tests.bench.options import Options, parse
from tests.bench.outcome import Figure, Outcome, Row, at_least, at_most, joined

OPTIONS = Options(rounds=5, seconds=4, quick=False, only=(), listing=False, json=Path("x"))
OUTCOME = Outcome(
    [Row("nginx", {"cpu us/req": 12.8, "req/s": 71_234.0}), Row("flexgate", {"cpu us/req": 25.0, "RSS MB": 61.2})],
    [
        Figure("flexgate / nginx", 1.953, "x", at_most(2.5), (1.9, 2.04)),
        Figure("textbook / flexgate", 3.2, "x", at_least(3.5)),
        Figure("ready", 0.5, "s"),
    ],
    ["a note"],
)


def test_text_shows_rows_figures_goals_and_notes() -> None:
    """The table lines up its columns, a missing cell is a dash, and a missed goal is called one."""
    assert report.text("Small GET", OUTCOME) == (
        "## Small GET\n"
        "            cpu us/req   req/s  RSS MB\n"
        "  nginx           12.8  71,234       -\n"
        "  flexgate        25.0       -    61.2\n"
        "  flexgate / nginx     1.95 x  (1.90 to 2.04)  goal <= 2.5      ok\n"
        "  textbook / flexgate  3.20 x                  goal >= 3.5  MISSED\n"
        "  ready                0.50 s\n"
        "  note: a note\n"
    )


def test_invalid_outcome_shows_its_reason_and_nothing_else() -> None:
    """No figure of a run that does not count is printed."""
    assert report.text("Small GET", Outcome(invalid="3 read errors")) == "## Small GET\nINVALID: 3 read errors\n"


def test_summary_lists_goals_only() -> None:
    """Figures without a goal are for reading, not for judging."""
    lines = report.summary({"small-get": OUTCOME, "broken": Outcome(invalid="no")}).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["small-get", "small-get"]
    assert "none measured" in report.summary({"broken": Outcome(invalid="no")})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234567.0, "1,234,567")],
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    """Small numbers keep their decimals, large ones lose them."""
    assert report.number(value) == shown


def test_data_survives_json() -> None:
    """The file holds machine, options, rows, figures with goal and verdict, notes and reasons."""
    data = orjson.loads(orjson.dumps(report.data({"cpu": "fast"}, OPTIONS, {"small-get": OUTCOME})))
    assert data["machine"] == {"cpu": "fast"}
    assert data["options"] == {"rounds": 5, "secondsPerWindow": 4, "quick": False}
    case = data["cases"]["small-get"]
    assert case["rows"]["nginx"]["req/s"] == 71_234.0
    first = {
        "name": "flexgate / nginx",
        "value": 1.953,
        "unit": "x",
        "goal": "<= 2.5",
        "spread": [1.9, 2.04],
        "met": True,
    }
    assert case["figures"][0] == first
    assert [figure["met"] for figure in case["figures"]] == [True, False, None]


def test_parts_join_in_order() -> None:
    """A case of several loads is one outcome."""
    both = joined([OUTCOME, Outcome(notes=["another"])])
    assert (len(both.rows), len(both.figures), both.notes) == (2, 3, ["a note", "another"])


def test_options_and_their_defaults() -> None:
    """Quick means one round of one second and a shorter stream; what is given explicitly wins."""
    usual, quick = parse([], ["a"]), parse(["--quick", "--seconds", "2", "--only", "a"], ["a"])
    assert (usual.rounds, usual.seconds, usual.only, str(usual.json)) == (5, 4, (), ".run/bench.json")
    assert usual.stream_bytes == 1 << 30
    assert (quick.rounds, quick.seconds, quick.only) == (1, 2, ("a",))
    assert quick.stream_bytes < usual.stream_bytes


@pytest.mark.parametrize("argv", [["--only", "nothing"], ["--rounds", "0"], ["--seconds", "x"]])
def test_wrong_options_end_with_a_message(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A case that does not exist or a length that cannot be is refused by name, before anything starts."""
    with pytest.raises(SystemExit) as stopped:
        parse(argv, ["small-get"])
    assert stopped.value.code == 2
    assert argv[0] in capsys.readouterr().err
