"""Verdicts on claims: by interval, margin and corrected test, or the reason why there is none."""

import pytest
from ironbench.effects import compare
from ironbench.records import Claim, Comparison
from ironbench.verdict import asked, family, judge_claims

from .made import experiment, plan, replace, study

CPU = Comparison(experiment="signin", metric="app_cpu_ms", variant="final", against="baseline")
CLAIM = Claim(
    id="cpu", says="final costs less", source="signin", kind="direction", comparison=CPU, expects="lower"
)
PLAN = plan(experiments=["signin"])


def spread_around(factor, *, width=0.01, blocks=10, comparison=CPU, margin=0.02, packed=False):
    """Return the effect of ``blocks`` blocks spread evenly by ``width`` to either side of a factor."""
    step = 2 * width / max(1, blocks - 1)
    ratios = {b: 100 * factor * (1 - width + step * (b - 1)) for b in range(1, blocks + 1)}
    return compare(comparison, ratios, dict.fromkeys(ratios, 100.0), margin=margin, packed=packed)


def verdict(claim, *effects, of=PLAN):
    _, verdicts = judge_claims([claim], effects, of, None)
    return verdicts[0]


def word(claim, *effects):
    return verdict(claim, *effects).word


# --- direction ---------------------------------------------------------------------------------


def test_direction_holds():
    made = verdict(CLAIM, spread_around(0.8))
    assert made.word == "holds here"
    assert made.reason == (
        "final has 0.800 of baseline [0.796, 0.804] over 10 blocks; p 0.002, after Holm's correction over 1 0.002."
    )
    assert made.effect
    assert made.effect.p_holm == 2 / 1024


def test_direction_the_other_way():
    assert word(CLAIM, spread_around(1.2)) == "does not hold here"
    assert word(replace(CLAIM, expects="higher"), spread_around(1.2)) == "holds here"
    assert word(replace(CLAIM, kind="mechanism", expects="higher"), spread_around(1.2)) == "holds here"


def test_no_difference_within_two_per_cent_refutes():
    made = verdict(CLAIM, spread_around(0.995))
    assert made.word == "does not hold here"
    assert "no difference, for all of it is within 2.0 %" in made.reason


def test_interval_over_one_is_undecided():
    made = verdict(CLAIM, spread_around(0.97, width=0.15))
    assert made.word == "undecided"
    assert made.reason.endswith("the interval holds 1.")


def test_value_within_the_margin_is_undecided():
    made = verdict(CLAIM, spread_around(0.982, width=0.012))
    assert made.word == "undecided"
    assert made.reason.endswith("the value is within the margin of 2.0 %.")


def test_wide_noise_refutes_only_what_was_published_larger():
    """The interval is 0.93 to 1.05 or so and the host's own noise 20 %: all of it is within that."""
    noisy = spread_around(0.99, width=0.1, margin=0.2)
    assert noisy.call == "equivalent"
    assert word(CLAIM, noisy) == "undecided"
    large = replace(CLAIM, published={"baseline": 10.0, "final": 5.0})
    made = verdict(large, noisy)
    assert made.word == "does not hold here"
    assert "within 20.0 %, this host's own noise, and the published ratio of 0.500 is outside" in made.reason
    small = replace(CLAIM, published={"baseline": 10.0, "final": 9.8})
    assert word(small, noisy) == "undecided"


def test_lower_within_wide_noise_is_not_refuted():
    """Below 1 in every block, but by less than the host's own noise."""
    below = spread_around(0.9, margin=0.2)
    assert below.call == "equivalent"
    large = replace(CLAIM, published={"baseline": 10.0, "final": 5.0})
    assert word(large, below) == "undecided"
    assert word(replace(CLAIM, expects="same"), below) == "undecided"


# --- same and ratio ----------------------------------------------------------------------------


def test_same():
    same = replace(CLAIM, expects="same")
    assert word(same, spread_around(1.0)) == "holds here"
    assert word(same, spread_around(0.8)) == "does not hold here"
    assert word(same, spread_around(1.2)) == "does not hold here"
    assert word(same, spread_around(1.0, width=0.15)) == "undecided"
    assert word(same, spread_around(1.0, width=0.1, margin=0.2)) == "holds here"


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (0.5, "holds here"),
        (0.59, "holds here"),  # up to 0.6
        (0.425, "holds here"),  # down to 0.4167: as far by division
        (0.6, "undecided"),
        (0.41, "does not hold here"),
        (0.7, "does not hold here"),
        (1.5, "does not hold here"),
    ],
)
def test_ratio(factor, says):
    claim = Claim(id="r", says="-", source="-", kind="ratio", comparison=CPU, ratio=0.5, tolerance=0.2)
    made = verdict(claim, spread_around(factor))
    assert made.word == says
    assert "published 0.500, accepted from 0.417 to 0.600" in made.reason
    assert made.effect
    assert made.effect.p_holm is None  # it rests on no test


# --- what cannot be decided --------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "told"), [(1, "1 block,"), (3, "3 blocks,"), (5, "5 blocks,")])
def test_too_few_blocks(blocks, told):
    made = verdict(CLAIM, spread_around(0.5, blocks=blocks))
    assert made.word == "undecided"
    assert made.reason == f"Too few runs for a verdict: {told} 6 are needed."


def test_blocks_without_a_figure_are_said():
    effect = compare(CPU, dict.fromkeys(range(1, 11), 0.0), dict.fromkeys(range(1, 11), 1.0), margin=0.02)
    assert verdict(CLAIM, effect).reason == (
        "No verdict: final or baseline has no positive figure in 10 of 10 blocks: around zero, it forms no "
        "ratio."
    )


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("app_cpu_ms", "No run of signin in this bundle has app_cpu_ms."),
        (
            "latency_p99",
            "No run of signin in this bundle has latency_p99: a percentile needs 10 samples above it.",
        ),
    ],
)
def test_metric_that_no_run_has(metric, reason):
    comparison = replace(CPU, metric=metric)
    claim = replace(CLAIM, comparison=comparison)
    nothing = compare(comparison, dict.fromkeys(range(1, 11)), dict.fromkeys(range(1, 11)), margin=0.02)
    made = verdict(claim, nothing)
    assert (made.word, made.reason) == ("not testable here", reason)
    not_yet = compare(comparison, {}, {1: 10.0}, margin=0.02)
    assert verdict(claim, not_yet).word == "undecided"


def test_no_counted_run():
    made = verdict(CLAIM, compare(CPU, {}, {}, margin=0.02))
    assert (made.word, made.reason) == ("undecided", "No run of signin counts yet.")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [("latency_mean", "latency there includes waiting"), ("core_busy", "other services worked on the app's")],
)
def test_packed_layout(metric, reason):
    comparison = replace(CPU, metric=metric)
    made = verdict(
        replace(CLAIM, comparison=comparison), spread_around(0.5, comparison=comparison, packed=True)
    )
    assert made.word == "not testable here"
    assert reason in made.reason
    assert word(CLAIM, spread_around(0.5, packed=True)) == "holds here"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"experiment": "ping"}, "This bundle has no experiment ping."),
        ({"variant": "beyond"}, "This bundle has no beyond in the experiment signin."),
        (
            {"variant": "beyond", "against": "ladder-1"},
            "This bundle has no beyond and no ladder-1 in the experiment signin.",
        ),
        (
            {"metric": "background_latency_mean"},
            "The experiment signin has no background in this bundle.",
        ),
        ({"metric": "speed"}, "This ironbench has no metric speed."),
    ],
)
def test_what_the_bundle_does_not_have(changes, reason):
    made = verdict(replace(CLAIM, comparison=replace(CPU, **changes)))
    assert (made.word, made.reason, made.effect) == ("not testable here", reason, None)


def test_claims_that_no_bundle_can_decide():
    made = verdict(replace(CLAIM, not_testable="It is about another machine."), spread_around(0.5))
    assert (made.word, made.reason) == ("not testable here", "It is about another machine.")
    share = Claim(id="s", says="-", source="-", kind="share", published={"argon2": 22.0}, tolerance=0.1)
    assert verdict(share).word == "not testable here"
    assert "flame graph" in verdict(share).reason


# --- Holm's correction -------------------------------------------------------------------------


def claims_on(*metrics, kind="direction"):
    return [
        replace(CLAIM, id=metric, kind=kind, comparison=replace(CPU, metric=metric)) for metric in metrics
    ]


def test_correction_runs_over_all_testable_claims():
    """Smallest p of 8 blocks is 2/256: four of those pass, six do not, and too few blocks are the reason."""
    metrics = ["app_cpu_ms", "sum_cpu_ms", "database_cpu_ms", "valkey_cpu_ms", "core_busy", "latency_mean"]

    def words(count):
        effects = [spread_around(0.8, blocks=8, comparison=replace(CPU, metric=m)) for m in metrics[:count]]
        return judge_claims(claims_on(*metrics[:count]), effects, PLAN, None)

    effects, verdicts = words(6)
    assert {verdict.word for verdict in verdicts} == {"holds here"}
    assert {effect.p_holm for effect in effects} == {6 * 2 / 256}
    metrics += ["latency_p50"]
    effects, verdicts = words(7)
    assert {verdict.word for verdict in verdicts} == {"undecided"}
    assert verdicts[0].reason.endswith(
        "p 0.0078, after Holm's correction over 7 0.055 is more than 0.05; over so many comparisons 9 blocks are needed."
    )


def test_comparison_of_two_claims_counts_once_whichever_side_is_named_first():
    mirrored = replace(CLAIM, id="back", comparison=replace(CPU, variant="baseline", against="final"))
    again = replace(CLAIM, id="again", expects="same")
    claims = [CLAIM, mirrored, again]
    assert family(claims, PLAN) == [CPU]
    assert asked(claims, PLAN) == [CPU, mirrored.comparison]
    assert mirrored.comparison
    effects = [spread_around(0.8), spread_around(1.25, comparison=mirrored.comparison)]
    effects, _ = judge_claims(claims, effects, PLAN, None)
    assert [(effect.p_holm, effect.family) for effect in effects] == [(2 / 1024, 1)] * 2


def test_who_is_not_in_the_family():
    ratio = Claim(id="r", says="-", source="-", kind="ratio", comparison=CPU, ratio=0.5, tolerance=0.2)
    absent = replace(CLAIM, id="a", comparison=replace(CPU, experiment="ping"))
    hopeless = replace(CLAIM, id="h", comparison=replace(CPU, metric="core_usr"), not_testable="Never.")
    latency = replace(CLAIM, id="l", comparison=replace(CPU, metric="latency_mean"))
    claims = [ratio, absent, hopeless, latency]
    assert family(claims, PLAN) == [latency.comparison]
    assert family(claims, PLAN, {"signin"}) == []
    assert family(claims, PLAN, {"me"}) == [latency.comparison]


def test_comparison_without_a_figure_yet_counts_in_the_family():
    """Else verdicts would change while the plan goes on."""
    later = replace(CPU, experiment="me")
    both = plan()
    claims = [CLAIM, replace(CLAIM, id="later", comparison=later)]
    effects = [spread_around(0.8), compare(later, {}, {}, margin=0.02)]
    effects, verdicts = judge_claims(claims, effects, both, None)
    assert (effects[0].p_holm, effects[0].family) == (4 / 1024, 2)
    assert [verdict.word for verdict in verdicts] == ["holds here", "undecided"]


def test_effects_that_no_claim_rests_on_have_no_corrected_p():
    other = spread_around(0.8, comparison=replace(CPU, variant="optimization-1"))
    effects, _ = judge_claims([CLAIM], [other, spread_around(0.8)], PLAN, None)
    assert [effect.p_holm for effect in effects] == [None, 2 / 1024]


def test_study_of_one_experiment():
    made = plan(of=study(experiments={"signin": experiment(variants=["baseline"])}))
    assert verdict(CLAIM, of=made).reason == "This bundle has no final in the experiment signin."
