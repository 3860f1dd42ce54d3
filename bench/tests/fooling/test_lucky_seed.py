"""A seed is looked for that puts the baseline first in every block, so that what drifts makes the others cheaper."""

from itertools import count

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.records import Protocol
from ironbench.report import compute
from ironbench.report.document import make_document
from ironbench.report.terminal import render

from tests.made import plan, study

from .whole import measured, reason, words

OF = study(protocols={"long": Protocol(blocks=8, warmup_s=2, window_s=8)})


def lucky():
    """Return the first seed with which the baseline comes first in each of the eight blocks."""
    for seed in count():
        made = plan("long", seed=seed, experiments=["signin"], variants=["baseline", "final"], of=OF)
        if {run.variant for run in made.runs[::2]} == {"baseline"}:
            return seed
    raise AssertionError


@pytest.fixture
def text(tmp_path, run):
    """Make a plan by its command and return its report."""
    (tmp_path / "experiments.yml").write_bytes(msgspec.yaml.encode(OF))

    def text(*options):
        code, _, err = run(
            *("plan", "--study", tmp_path, "--protocol", "long", "--results", tmp_path / "results"),
            *(
                "--experiment",
                "signin",
                "--variant",
                "baseline",
                "--variant",
                "final",
                "--id",
                "made",
                *options,
            ),
        )
        assert code == 0, err
        return render(make_document(compute(tmp_path / "results/made")))

    return text


def test_a_seed_with_the_baseline_always_first_is_told(text):
    seed = lucky()
    told = " ".join(text("--seed", seed).split())
    assert f"{seed}, given" in told
    assert f"The seed {seed} was given, and it puts baseline before final in 8 of 8 blocks of signin." in told


def test_a_given_seed_with_a_fair_order_is_only_told(text):
    told = text("--seed", 7)
    assert "7, given" in told
    assert "was given, and it puts" not in told


def test_a_drawn_seed_is_told(text, tmp_path):
    told = text()
    assert f"{bundles.read_plan(tmp_path / 'results/made').seed}, drawn" in told
    assert "was given" not in told


def test_what_drifts_wins_nothing_by_its_order(tmp_path):
    """Each session is cheaper than the one before, and with this seed final always comes second."""
    drifts = lambda run: {"app_share": 0.4 * 0.97**run.position}  # noqa: E731 - one line is enough
    _, results = measured(tmp_path, drifts, blocks=8, seed=lucky())
    assert words(results)["cheaper"] == "undecided"
    assert "baseline before final in 8 of 8 blocks" in reason(results, "cheaper")
