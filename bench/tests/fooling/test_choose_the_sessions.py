"""Somebody ends, or has a fault in, each session whose live figures displease, and measures it again."""

import random

import pytest
from ironbench import bundle as bundles
from ironbench.plan import make_session

from tests.made import due

from .whole import calls, measured, reason, words


def cheaper(run):
    return {"app_share": 0.3 if run.variant == "baseline" else 0.2}


def interrupted(bundle, times):
    """Hand the pending session out so often and never seal it, as a playbook does that is killed in its window."""
    run = due(bundle)
    for _ in range(times):
        bundles.note_attempt(bundle, make_session(bundles.read_plan(bundle), run))
    return run


@pytest.mark.parametrize(
    ("a_a", "times", "word"), [(False, 1, "undecided"), (True, 2, "holds here"), (True, 3, "undecided")]
)
def test_sessions_that_vanished_are_counted(tmp_path, a_a, times, word):
    bundle, _ = measured(tmp_path, cheaper, runs=4, a_a=a_a)
    while due(bundle).again:
        measured(tmp_path, cheaper, runs=1, bundle=bundle)
    run = interrupted(bundle, times)
    _, results = measured(tmp_path, cheaper, bundle=bundle)
    assert words(results)["cheaper"] == word
    (side,) = [one for one in results.counts if one.side == run.side]
    assert side.interrupted == times
    if word == "undecided":
        assert "began and left no figure" in reason(results, "cheaper")


@pytest.mark.parametrize("retries", [1, 0])
def test_blocks_that_displease_are_measured_first_as_well(tmp_path, retries):
    """Two equal variants, and a fault (steal) in each block where final is not the cheaper one: again, or left out."""
    draw = random.Random(5)

    def of_run(run):
        share = 0.3
        if run.attempt > 1:
            return {"app_share": share * (0.9 if run.variant == "final" else 1.0)}
        displeases = run.block > 7
        if run.variant == "final":
            share *= 1.2 if displeases else 0.9
        share *= draw.uniform(0.999, 1.001)
        return {"app_share": share, "steal": 9.0 if displeases and run.variant == "final" else 0.0}

    _, results = measured(tmp_path, of_run, retries=retries)
    assert words(results)["cheaper"] == "undecided"
    assert calls(results) == "undecided"
    assert "as they were measured first" in reason(results, "cheaper")


def test_a_fault_that_changes_nothing_is_no_reason(tmp_path):
    """One block was disturbed by steal, and says the same before and after."""
    _, results = measured(tmp_path, lambda run: cheaper(run) | ({"steal": 9.0} if run.position == 7 else {}))
    assert sum(not run.counted for run in results.runs) == 2
    assert words(results)["cheaper"] == "holds here"


def test_one_side_has_clearly_more_faults(tmp_path):
    def of_run(run):
        faulty = run.attempt == 1 and run.variant == "final" and run.block <= 6
        return cheaper(run) | ({"steal": 9.0} if faulty else {})

    _, results = measured(tmp_path, of_run)
    assert words(results)["cheaper"] == "undecided"
    assert (
        "6 sessions of final were lost, interrupted or had an instrument fault, and 0 of baseline"
        in reason(results, "cheaper")
    )
