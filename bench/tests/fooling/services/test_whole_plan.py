"""Services that answer with errors, or that work when nobody counts, look cheap and quick in a whole plan on a real host."""

import pytest
from ironbench.metrics import METRICS
from ironbench.stats import MIN_BLOCKS

REASONS = {
    "errors": "to errors failed",
    "error-pages": "sampled answers of error-pages",
    "early": "work that was moved into the quiet time",
    "late": "work that was moved into the quiet time",
}
"""What the report says of each dishonest service, instead of a verdict."""
dishonest = pytest.mark.parametrize("service", REASONS)


def against_honest(results, service):
    return {
        effect.comparison.metric: effect
        for effect in results.effects
        if (effect.comparison.variant, effect.comparison.against) == (service, "honest")
    }


def in_favour(metric, call):
    return call == ("lower" if METRICS[metric].lower_is_better else "higher")


def counts(service, metric):
    """Whether a service has nothing to gain in a metric.

    Who answers before the work is done really answers sooner, and has an idler window; so of these only CPU work counts.
    """
    return METRICS[metric].unit == "CPU-ms" if service in ("early", "late") else True


def test_the_same_plan_tells_who_is_really_cheaper(measured):
    effect = against_honest(measured.results, "half")["app_cpu_ms"]
    if effect.blocks < MIN_BLOCKS:
        pytest.skip(f"the machine's neighbours left {effect.blocks} blocks, and a call needs {MIN_BLOCKS}")
    assert effect.call == "lower"
    assert {v.claim.id: v.word for v in measured.results.claims}["half-costs-a-half"] == "holds here"


@dishonest
def test_no_claim_of_a_dishonest_service_is_decided(measured, service):
    words = {
        verdict.claim.id: (verdict.word, verdict.reason)
        for verdict in measured.results.claims
        if verdict.claim.comparison.variant == service
    }
    assert words
    assert "holds here" not in {word for word, _ in words.values()}, words


@dishonest
def test_no_effect_is_called_in_favour_of_a_dishonest_service(measured, service):
    calls = {metric: effect.call for metric, effect in against_honest(measured.results, service).items()}
    assert "app_cpu_ms" in calls
    won = [m for m, call in calls.items() if counts(service, m) and in_favour(m, call)]
    assert won == []


@dishonest
def test_the_report_says_why(measured, service):
    effect = against_honest(measured.results, service)["app_cpu_ms"]
    # Where noise hides the saving there is no call that would have to be withheld.
    hidden = effect.low is None or effect.high is None or effect.low <= 1 <= effect.high
    assert REASONS[service] in "; ".join(effect.withheld) or (service in ("early", "late") and hidden)


@dishonest
def test_compare_calls_nothing_in_favour_of_a_dishonest_service(measured, service):
    found = [one for one in measured.compared["effects"] if one["comparison"]["variant"] == service]
    assert "app_cpu_ms" in {one["comparison"]["metric"] for one in found}
    won = [
        one["comparison"]["metric"]
        for one in found
        for effect in one["effects"]
        if effect and counts(service, one["comparison"]["metric"])
        if in_favour(one["comparison"]["metric"], effect["call"])
    ]
    assert won == []
