"""Somebody looks after every block and stops as soon as the figures say what he would like."""

import random

from ironbench.report import compute

from .whole import calls, measured, reason, words


def cheaper(run):
    return {"app_share": 0.3 if run.variant == "baseline" else 0.2}


def test_no_verdict_before_the_plan_is_complete(tmp_path):
    _, results = measured(tmp_path, cheaper, runs=18)
    assert results.sealed == 18
    assert set(words(results).values()) == {"undecided"}
    assert calls(results) == "undecided"
    assert "18 of 20 runs are sealed, and a verdict needs all of them" in reason(results, "cheaper")


def test_the_same_figures_decide_when_it_is(tmp_path):
    _, results = measured(tmp_path, cheaper)
    assert words(results)["cheaper"] == "holds here"


def test_a_block_that_is_due_again_is_missing_too(tmp_path):
    """All planned runs are sealed; one had an instrument fault, and its block's repetition is not measured yet."""
    _, results = measured(
        tmp_path, lambda run: cheaper(run) | ({"steal": 9.0} if run.position == 20 else {}), runs=20
    )
    assert results.sealed == 20
    assert results.total == 22
    assert set(words(results).values()) == {"undecided"}


def test_runs_that_displease_cannot_be_damaged(tmp_path):
    """A run whose file is broken is left out of the figures, and then the plan is no longer complete."""
    draw = random.Random(3)
    bundle, _ = measured(tmp_path, lambda run: {"app_share": 0.3 * draw.uniform(0.9, 1.1)})
    next(bundle.glob("runs/*/*/final/run.json")).write_text("{")
    results = compute(bundle)
    assert results.damaged
    assert set(words(results).values()) == {"undecided"}
