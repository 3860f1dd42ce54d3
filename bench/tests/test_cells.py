"""Experiments whose sides are cells: what each runs with, what is compared, and what is refused."""

import re

import msgspec
import pytest
from ironbench.cells import as_side, level, pairs
from ironbench.errors import IronbenchError
from ironbench.plan import make_session
from ironbench.records import Expectation, ExperimentCell, LoadChange, RequestTemplate, Search
from ironbench.study import ALL, load_study, select

from .made import experiment, plan, replace, study

OTHER = RequestTemplate(method="GET", path="/other", expect=Expectation(status=200))
ARRIVALS = {
    f"{variant}-{arrivals}": ExperimentCell(variant=variant, load=LoadChange(arrivals=arrivals))
    for variant in ("baseline", "final")
    for arrivals in ("wrk2-phase", "even", "poisson")
}
CROSSED = experiment(variants=[], cells=ARRIVALS, factor=["variant", "arrivals"])
REQUESTS = experiment(
    variants=[],
    factor="request",
    cells={"here": ExperimentCell(variant="final"), "there": ExperimentCell(variant="final", request=OTHER)},
)


def read(tmp_path, **experiments):
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(study(experiments=experiments)))
    return load_study(tmp_path)


def test_names_of_the_cells_are_the_sides(tmp_path):
    made = read(tmp_path, crossed=CROSSED)
    assert made.experiments["crossed"].variants == list(ARRIVALS)
    _, chosen = select(made, "quick", [], ["final-even", "baseline-even"])
    assert chosen["crossed"].variants == ["baseline-even", "final-even"]


def test_a_session_is_that_of_its_cell(tmp_path):
    made = plan(of=read(tmp_path, crossed=CROSSED, requests=REQUESTS))
    sessions = {
        run.variant: make_session(made, run) for run in made.runs if run.block == 1 and run.attempt == 1
    }
    even = sessions["final-even"]
    assert (even.run.variant, even.variant) == ("final-even", "final")
    assert even.experiment.load == replace(experiment().load, arrivals="even")
    assert even.experiment.request == experiment().request
    there = sessions["there"]
    assert (there.variant, there.experiment.request) == ("final", OTHER)
    assert sessions["here"].experiment.request == experiment().request
    # The block's sides share their seed, so arrivals are the same wherever they are drawn.
    assert len({sessions[name].seed for name in ARRIVALS}) == 1


def test_only_sides_that_differ_in_one_factor_are_compared(tmp_path):
    made = read(tmp_path, crossed=CROSSED).experiments["crossed"]
    found = pairs(made, "baseline")
    for one, against in found:
        assert sum(level(made, one, f) != level(made, against, f) for f in ("variant", "arrivals")) == 1
    assert ("final-even", "baseline-even") in found
    assert ("final-even", "final-wrk2-phase") in found
    assert ("final-poisson", "final-even") in found
    assert len(found) == len(set(found)) == 3 + 2 * 3


def test_variants_are_compared_as_ever():
    assert pairs(experiment(), "baseline") == [
        ("optimization-1", "baseline"),
        ("final", "baseline"),
        ("final", "optimization-1"),
    ]


def test_repetitions_are_compared(tmp_path):
    cells = {name: ExperimentCell(variant="final") for name in ("first", "second", "third")}
    made = read(tmp_path, jitter=experiment(variants=[], cells=cells, factor="repetition"))
    assert pairs(made.experiments["jitter"], "baseline") == [
        ("second", "first"),
        ("third", "first"),
        ("third", "second"),
    ]


def cells(**changes):
    """Make two cells, the second with changes of the load."""
    return {
        "one": ExperimentCell(variant="final"),
        "two": ExperimentCell(variant="final", load=LoadChange(**changes)),
    }


SEARCH = Search(p99_ms=50, from_rate=250, to_rate=4000, steps=6, step_s=4)
EVEN = replace(experiment().load, arrivals="even")
BAD = {
    "gives both variants and cells": experiment(cells=cells(rate=6.0), factor="rate"),
    "without cells only the variant differs": experiment(factor="rate"),
    "cells one and two that differ in rate; its factor is arrivals": experiment(
        variants=[], cells=cells(rate=6.0), factor="arrivals"
    ),
    "cells one and two that do not differ": experiment(variants=[], cells=cells(), factor="rate"),
    "at least one factor, each named once": experiment(
        variants=[], cells=cells(rate=6.0), factor=["rate", "rate"]
    ),
    "a cell two that needs connections that divide evenly": experiment(
        variants=[], cells=cells(connections=3), factor="connections"
    ),
    "protocol quick: 2 s at 0.1 requests per second are too short": experiment(
        variants=[], cells=cells(rate=0.1), factor="rate"
    ),
    "the name 'Final'": experiment(variants=[], cells={"one": ExperimentCell(variant="Final")}),
    "seeds users, which fresh_state: false leaves out": experiment(fresh_state=False),
    "0 < from_rate < to_rate": experiment(load=EVEN, search=replace(SEARCH, to_rate=200)),
    "a search of 2 steps": experiment(load=EVEN, search=replace(SEARCH, steps=2)),
    "first step has 250 requests, too few for a P99": experiment(load=EVEN, search=replace(SEARCH, step_s=1)),
    "whole bursts of wrk2-phase": experiment(search=SEARCH),
}


@pytest.mark.parametrize("what", BAD)
def test_what_makes_no_sense_is_refused(tmp_path, what):
    with pytest.raises(IronbenchError, match=re.escape(what)):
        read(tmp_path, a=BAD[what])


def test_what_the_bad_ones_are_made_from_is_good(tmp_path):
    read(tmp_path, a=experiment(load=EVEN, search=SEARCH))
    read(tmp_path, a=experiment(variants=[], cells=cells(rate=6.0), factor="rate"))


def test_a_study_has_experiments_of_its_own_choice():
    assert list(select(study(default=["me"]), "quick", [], [])[1]) == ["me"]
    assert list(select(study(default=["me"]), "quick", ["signin"], [])[1]) == ["signin"]
    for names in ([ALL], ["me", ALL]):
        assert list(select(study(default=["me"]), "quick", names, [])[1]) == ["signin", "me"]
    assert list(select(study(), "quick", [], [])[1]) == ["signin", "me"]


def test_default_names_what_is_there(tmp_path):
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(study(default=["ping"])))
    with pytest.raises(IronbenchError, match="default names the experiment ping, and there are signin, me"):
        load_study(tmp_path)
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(study(experiments={"all": experiment()})))
    with pytest.raises(IronbenchError, match="named all, which stands for every one"):
        load_study(tmp_path)


def test_a_level_in_words():
    made = replace(REQUESTS, variants=["here", "there"])
    assert as_side(made, "there").request == OTHER
    assert [level(made, name, "request") for name in made.variants] == ["POST /signin", "GET /other"]
