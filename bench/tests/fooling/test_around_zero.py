"""A metric of nearly nothing is called lower, for the blocks whose figure fell to zero or below are dropped."""

import pytest
from ironbench.effects import compare
from ironbench.verdict import judge_claims

from tests.made import plan

from .whole import CLAIMS, CPU


def blocks(values):
    return dict(enumerate(values, 1))


@pytest.mark.parametrize("none", [2, 3, 9])
def test_what_is_left_by_its_sign_forms_no_ratio(none):
    variant = [-0.02] * none + [0.1] * (10 - none)
    made = compare(CPU, blocks(variant), blocks([1.0] * 10), margin=0.02)
    assert (made.value, made.low, made.call) == (None, None, "undecided")
    assert f"no positive figure in {none} of 10 blocks" in made.withheld[0]
    _, verdicts = judge_claims(CLAIMS.claims[:1], [made], plan(experiments=["signin"]), None)
    assert verdicts[0].word == "undecided"
    assert "around zero" in verdicts[0].reason


@pytest.mark.parametrize("side", [0, 1])
def test_zeros_of_either_side_count(side):
    sides = [blocks([1.0] * 10), blocks([1.0] * 10)]
    sides[side] |= {1: 0.0, 2: 0.0}
    assert compare(CPU, *sides, margin=0.02).value is None


def test_one_in_ten_is_left_out_and_named():
    made = compare(CPU, blocks([-0.02] + [0.5] * 9), blocks([1.0] * 10), margin=0.02)
    assert made.call == "lower"
    assert list(made.left_out) == [1]
