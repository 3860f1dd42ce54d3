"""What lint says of the article's own tables, and of the runs of which it published one."""

from collections import Counter
from pathlib import Path

import pytest
from ironbench.lint.read import read_tables
from ironbench.lint.rules import lint

FIXTURES = Path(__file__).parent / "fixtures"
ROUND_1 = ("round-1-signup", "round-1-signin", "round-1-me")
FINAL = ("final-signup", "final-signin", "final-me")
OTHERS = ("serialization", "ping")


def flaws(*names):
    return lint([table for name in names for table in read_tables(FIXTURES / f"{name}.csv")])


def rules(*names):
    return Counter(flaw.rule for flaw in flaws(*names))


@pytest.mark.parametrize("name", [*ROUND_1, *FINAL, *OTHERS])
def test_no_delta_is_wrong_and_no_row_contradicts_itself(name):
    """All deltas follow; signup's final P99 of 662.02 above its Max of 661.50 is the edge of a bucket."""
    kinds = set(rules(name))
    assert kinds <= {"points-as-percent", "few-samples", "few-runs"}


@pytest.mark.parametrize("name", [*ROUND_1, *FINAL])
def test_cpu_deltas_are_points(name):
    found = [flaw for flaw in flaws(name) if flaw.rule == "points-as-percent"]
    assert [flaw.row for flaw in found] == [7, 8]
    assert all(flaw.severity == "error" for flaw in found)


def test_points_are_told_with_what_they_are_in_per_cent():
    (first, _) = [flaw for flaw in flaws("round-1-signin") if flaw.rule == "points-as-percent"]
    assert first.column == "Difference (Delta)"
    assert "from 58.76% to 35.88%, -22.88% are points, and in per cent it is -38.9 %" in first.what


@pytest.mark.parametrize("name", OTHERS)
def test_cpu_deltas_in_per_cent_are_right(name):
    assert not rules(name)["points-as-percent"]


@pytest.mark.parametrize(
    ("name", "percentiles"),
    [
        ("round-1-signup", ["P99", "P99"]),  # 5 a second for 30 s: 1.5 of 150 samples
        ("round-1-signin", ["P90", "P90", "P99", "P99"]),  # 3 a second: 9 of 90, and 0.9
        ("final-signin", ["P90"] * 3 + ["P99"] * 3),
        ("round-1-me", []),
        ("serialization", []),
        ("ping", []),
    ],
)
def test_percentiles_of_a_handful_of_requests(name, percentiles):
    found = [flaw.what.split(" ")[0] for flaw in flaws(name) if flaw.rule == "few-samples"]
    assert sorted(found) == percentiles


@pytest.mark.parametrize("name", [*ROUND_1, *FINAL, *OTHERS])
def test_no_table_says_how_many_runs_it_rests_on(name):
    (flaw,) = [flaw for flaw in flaws(name) if flaw.rule == "few-runs"]
    assert "does not say how many runs" in flaw.what


def test_published_columns_are_one_run_of_three():
    found = [flaw.what for flaw in flaws("final-signup", "runs-signup") if flaw.rule == "one-of-several"]
    assert found == [
        "the figures of Baseline are those of one run of 3, baseline 3",
        "the figures of Optimization 1 are those of one run of 3, optimization-1 1",
        "the figures of Final are those of one run of 3, final 2",
    ]
    (me,) = [flaw.what for flaw in flaws("runs-me", "round-1-me") if flaw.rule == "one-of-several"]
    assert me == "the figures of Baseline are those of one run of 3, baseline 2"


def test_runs_of_another_experiment_match_nothing():
    assert not rules("final-signin", "runs-signup")["one-of-several"]


def test_three_runs_a_side():
    (flaw,) = [flaw for flaw in flaws("runs-signup") if flaw.rule == "few-runs"]
    assert flaw.what == "series of 3 runs are compared"


def test_saturated_endpoint_without_a_word():
    assert rules("runs-jsonable")["unsaid-saturation"] == 3
