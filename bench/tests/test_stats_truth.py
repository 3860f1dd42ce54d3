"""The statistics in worlds whose truth is known: 2,000 simulated plans each (about a minute of one core).

What a world makes impossible is asserted as it is, and docs/methodology.md says so.
"""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_PATH = Path(__file__).parents[1] / "benchmarks/simulations.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("simulations", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # msgspec looks up the module of its records
    spec.loader.exec_module(module)
    return module


SIMULATIONS = _load()
ALL = list(SIMULATIONS.WORLDS)
ONE_FACTOR = [name for name in ALL if name not in SIMULATIONS.UNLIKE]
BLOCKS = 10


@cache
def measured(name: str) -> Any:
    return SIMULATIONS.measure(name, BLOCKS)


@pytest.mark.parametrize("name", ONE_FACTOR)
def test_intervals_hold_the_truth_as_often_as_they_say(name):
    assert 0.93 <= measured(name).coverage <= 0.97


@pytest.mark.parametrize("name", SIMULATIONS.UNLIKE)
def test_where_there_is_no_one_factor_intervals_hold_the_median_less_often(name):
    assert 0.88 <= measured(name).coverage <= 0.97


@pytest.mark.parametrize("name", ALL)
def test_a_a_is_hardly_ever_called(name):
    assert measured(name).false_a_a <= 0.05


@pytest.mark.parametrize("name", ALL)
def test_two_variants_that_cost_the_same_are_hardly_ever_called(name):
    assert measured(name).false_null <= 0.05


@pytest.mark.parametrize("name", ALL)
def test_what_is_too_small_to_see_is_hardly_ever_refuted(name):
    assert measured(name).refuted <= 0.05


@pytest.mark.parametrize("name", ALL)
def test_planned_effects_are_seen(name):
    assert measured(name).power >= 0.8


def test_a_family_of_nulls_gives_no_verdict():
    with_correction, without = SIMULATIONS.family_error()
    assert with_correction <= 0.05
    assert without > 0.3  # or the simulation could not have shown it


@pytest.mark.parametrize("world", SIMULATIONS.SHOPPING_WORLDS)
@pytest.mark.parametrize("who", SIMULATIONS.SHOPPERS)
def test_who_stops_interrupts_and_repeats_is_hardly_ever_served(who, world):
    """500 plans each, whose standard error at 5 % is one point; docs/methodology.md has 2,000."""
    assert SIMULATIONS.shopped(who, SIMULATIONS.WORLDS[world], BLOCKS, number=500) <= 0.05


def test_figures_alone_would_serve_him():
    """Else the simulation would not hold the guard against anything."""
    world = SIMULATIONS.WORLDS["normal"]
    assert SIMULATIONS.shopped("interrupt and repeat", world, BLOCKS, guarded=False, number=500) > 0.1
