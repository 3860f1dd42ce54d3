"""What a bundle says of each claim: claims and effects in, verdicts with their reasons out.

A verdict needs the interval, the margin and the test to agree. Holm's correction runs over the comparisons
that the bundle's testable claims of kind ``direction`` and ``mechanism`` rest on, each once; those without a
p yet count in it as well, so that a bundle's verdicts do not depend on how far it got.

A direction is refuted in two ways: the effect goes the other way, or there is none. "None" needs care,
since a noisy host has a wide margin and everything small fits into it. So an interval within 2 % refutes;
one within a wider margin refutes only if it holds 1 and leaves out the published change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ironbench.effects import NO_FIGURE
from ironbench.flame.summary import judge_share
from ironbench.metrics import METRICS, MIN_ABOVE, PLAN_METRICS
from ironbench.published import judge_record
from ironbench.query_plan.summary import judge_scan
from ironbench.records import LeftOutClaims, Verdict
from ironbench.stats import ALPHA, MIN_BLOCKS, MIN_MARGIN, blocks_for_family, farthest, holm
from ironbench.withheld import gross_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ironbench.published import Published
    from ironbench.records import Claim, Comparison, Effect, FlameSummary, Plan, QueryPlanSummary, VerdictWord

    Words = tuple[VerdictWord, str]
    Key = tuple[str, str, frozenset[str]]

HOLDS: VerdictWord = "holds here"
NOT: VerdictWord = "does not hold here"
UNDECIDED: VerdictWord = "undecided"
UNTESTABLE: VerdictWord = "not testable here"

TESTED = ("direction", "mechanism")
"""Kinds that rest on a test, and so on Holm's correction."""
MEASURED = (*TESTED, "ratio")

_OPPOSITE = {"lower": "higher", "higher": "lower"}


def asked(claims: Iterable[Claim], plan: Plan) -> list[Comparison]:
    """Return the comparisons that a plan's claims rest on, each once."""
    found = (
        claim.comparison
        for claim in claims
        if claim.kind in MEASURED
        and claim.comparison is not None
        and not claim.not_testable
        and not _absent(claim, plan)
    )
    return list(dict.fromkeys(found))


def family(claims: Iterable[Claim], plan: Plan, packed: Collection[str] = ()) -> list[Comparison]:
    """Return the comparisons over which Holm's correction runs, each once, whichever side is named first.

    ``packed`` names the experiments of a packed layout: latency and whole CPUs are not tested there.
    """
    found: dict[Key, Comparison] = {}
    for one in asked((claim for claim in claims if claim.kind in TESTED), plan):
        if one.experiment not in packed or not _needs_own_cpus(one.metric):
            found.setdefault(_key(one), one)
    return list(found.values())


def left_out(claims: Sequence[Claim], plan: Plan, packed: Collection[str] = ()) -> LeftOutClaims | None:
    """Tell which claims that rest on a test the plan leaves out; None where it measures all that they rest on.

    ``packed`` is as in ``family``. On such a host no experiment that was left out would have tested latency either.
    """
    missing = [
        claim
        for claim in claims
        if claim.kind in TESTED
        and claim.comparison is not None
        and not claim.not_testable
        and claim.comparison.metric in METRICS
        and _absent(claim, plan)
    ]
    if not plan.runs or not missing:
        return None
    measured = family(claims, plan, packed)
    whole = {_key(one) for one in measured} | {
        _key(claim.comparison)
        for claim in missing
        if claim.comparison and not (packed and _needs_own_cpus(claim.comparison.metric))
    }
    return LeftOutClaims(
        claims=len(missing),
        experiments=list(dict.fromkeys(claim.comparison.experiment for claim in missing if claim.comparison)),
        family=len(measured),
        whole_family=len(whole),
    )


def judge_claims(  # noqa: PLR0913 - claims rest on this many kinds of evidence
    claims: Sequence[Claim],
    effects: Sequence[Effect],
    plan: Plan,
    published: Published | None,
    *,
    query_plans: Sequence[QueryPlanSummary] = (),
    flame_graphs: FlameSummary | None = None,
) -> tuple[list[Effect], list[Verdict]]:
    """Return the effects with Holm's p where claims rest on them, and a verdict for each claim, in order.

    Of several hosts with query plans the first one that has what a claim asks for decides it.
    """
    effects = _corrected(claims, effects, plan)
    found = {effect.comparison: effect for effect in effects}
    for summary in reversed(query_plans):
        found |= {effect.comparison: effect for effect in summary.effects}
    verdicts = []
    for claim in claims:
        effect = found.get(claim.comparison) if claim.comparison else None
        if claim.comparison is not None and claim.comparison.metric in PLAN_METRICS:
            word, reason = _judge_query_plan(claim, effect, query_plans)
        elif claim.kind == "share" and not claim.not_testable:
            word, reason = judge_share(claim, flame_graphs)
        else:
            gross = gross_of(effect, found) if effect else None
            word, reason = _judge(claim, effect, gross, plan, published)
        measured = claim.kind in MEASURED
        verdicts.append(Verdict(claim=claim, word=word, reason=reason, effect=effect if measured else None))
    return effects, verdicts


# --- Holm's correction -------------------------------------------------------------------------


def _corrected(claims: Sequence[Claim], effects: Sequence[Effect], plan: Plan) -> list[Effect]:
    members = family(claims, plan, {effect.comparison.experiment for effect in effects if effect.packed})
    ps = {_key(effect.comparison): effect.p for effect in effects}
    known = [1.0 if (p := ps.get(_key(one))) is None else p for one in members]
    corrected = dict(zip(map(_key, members), holm(known), strict=True))
    return [
        msgspec.structs.replace(effect, p_holm=corrected[_key(effect.comparison)], family=len(members))
        if effect.p is not None and _key(effect.comparison) in corrected
        else effect
        for effect in effects
    ]


def _key(one: Comparison) -> Key:
    return one.experiment, one.metric, frozenset((one.variant, one.against))


def _needs_own_cpus(metric: str) -> bool:
    return METRICS[metric].latency or METRICS[metric].whole_cpus


# --- one claim ---------------------------------------------------------------------------------


def _judge(
    claim: Claim, effect: Effect | None, gross: Effect | None, plan: Plan, published: Published | None
) -> Words:
    why_not = _untestable(claim, effect, plan, published)
    if why_not:
        return UNTESTABLE, why_not
    if published is not None and claim.kind == "record":
        return judge_record(claim, published)
    assert effect is not None  # comparisons that claims rest on are always made
    return _measured(claim, effect, gross)


def _judge_query_plan(claim: Claim, effect: Effect | None, query_plans: Sequence[QueryPlanSummary]) -> Words:
    """Judge a claim on a query plan test; latency of a packed layout does not matter there, for nothing else runs."""
    assert claim.comparison is not None
    if claim.not_testable:
        return UNTESTABLE, claim.not_testable
    one = claim.comparison
    there = [s for s in query_plans if {one.variant, one.against} <= _settings(s, one.experiment)]
    if not there:
        return (
            UNTESTABLE,
            f"This bundle has no query plans of {one.experiment}; playbooks/query_plan.yml makes them.",
        )
    if PLAN_METRICS[one.metric].of is None:
        return judge_scan(claim, there[0])
    assert effect is not None
    return _measured(claim, effect)


def _settings(summary: QueryPlanSummary, case: str) -> set[str]:
    return {figures.setting for figures in summary.figures if figures.case == case}


def _measured(claim: Claim, effect: Effect, gross: Effect | None = None) -> Words:
    """Judge by the effect; ``gross`` is the same with idle work included, where there is such a figure."""
    if effect.withheld:
        return UNDECIDED, f"No verdict: {'; '.join(effect.withheld)}."
    too_few = _too_few(effect)
    if too_few:
        return UNDECIDED, too_few
    if claim.kind == "ratio":
        word, reason = _ratio(claim, effect)
        if gross is None or gross.low is None or word == UNDECIDED:
            return word, reason
        other = _ratio(claim, gross)
        if other[0] == word:
            return word, reason
        return UNDECIDED, f"{reason} With idle work included it is not so: {other[1]}"
    return _same(effect) if claim.expects == "same" else _direction(claim, effect)


def _untestable(claim: Claim, effect: Effect | None, plan: Plan, published: Published | None) -> str:
    """Say why this bundle cannot decide a claim, however many runs it had; empty when it can."""
    if claim.not_testable:
        return claim.not_testable
    if claim.kind == "record":
        return "" if published is not None else "This bundle carries no published runs."
    return _absent(claim, plan) or ("" if effect is None else _packed(effect) or _unmeasured(effect))


def _absent(claim: Claim, plan: Plan) -> str:
    """Say what of a claim's comparison the plan does not have; empty when it has all."""
    if claim.comparison is None:
        return "It names nothing to measure."
    one = claim.comparison
    experiment = plan.experiments.get(one.experiment)
    if experiment is None:
        return f"This bundle has no experiment {one.experiment}."
    if one.metric not in METRICS:
        return f"This ironbench has no metric {one.metric}."
    missing = [variant for variant in (one.variant, one.against) if variant not in experiment.variants]
    if missing:
        return f"This bundle has no {' and no '.join(missing)} in the experiment {one.experiment}."
    if METRICS[one.metric].source == "background" and experiment.background is None:
        return f"The experiment {one.experiment} has no background in this bundle."
    return ""


def _packed(effect: Effect) -> str:
    metric = METRICS[effect.comparison.metric]
    if effect.packed and metric.latency:
        return "Measured on a packed layout: latency there includes waiting for each other and for the load generator."
    if effect.packed and metric.whole_cpus:
        return "Measured on a packed layout: other services worked on the app's CPUs."
    return ""


def _unmeasured(effect: Effect) -> str:
    if effect.blocks or not effect.left_out or effect.withheld:
        return ""
    if not all(why.startswith(NO_FIGURE) for why in effect.left_out.values()):
        return ""
    metric = METRICS[effect.comparison.metric]
    few = f": a percentile needs {MIN_ABOVE} samples above it" if metric.percentile else ""
    return f"No run of {effect.comparison.experiment} in this bundle has {metric.name}{few}."


def _too_few(effect: Effect) -> str:
    if effect.blocks >= MIN_BLOCKS:
        return ""
    if not effect.blocks and not effect.left_out:
        return f"No run of {effect.comparison.experiment} counts yet."
    blocks = "1 block" if effect.blocks == 1 else f"{effect.blocks} blocks"
    reason = f"Too few runs for a verdict: {blocks}, {MIN_BLOCKS} are needed"
    if effect.left_out:
        block, why = next(iter(effect.left_out.items()))
        reason += f"; {len(effect.left_out)} left out, as block {block}: {why}"
    return f"{reason}."


def _direction(claim: Claim, effect: Effect) -> Words:
    said = _said(effect)
    if effect.call in _OPPOSITE:
        if effect.p_holm is None or effect.p_holm > ALPHA:
            return UNDECIDED, f"{said}: {_not_significant(effect)}."
        return (HOLDS if effect.call == claim.expects else NOT), f"{said}; {_significance(effect)}."
    within = _within(effect)
    if effect.call == "equivalent":
        if farthest(effect.low, effect.high) <= MIN_MARGIN:
            return NOT, f"{said}: no difference, for all of it is within {_per_cent(MIN_MARGIN)}."
        if _holds_one(effect) and (there := _published_ratio(claim)) and not _holds(effect, there):
            return NOT, f"{said}: {within}, and the published ratio of {there:.3f} is outside."
        return UNDECIDED, f"{said}: {within}, so a difference of that size cannot be seen."
    return UNDECIDED, f"{said}: {_open(effect)}."


def _same(effect: Effect) -> Words:
    said = _said(effect)
    if effect.call == "equivalent":
        if farthest(effect.low, effect.high) <= MIN_MARGIN or _holds_one(effect):
            return HOLDS, f"{said}: {_within(effect)}."
        return UNDECIDED, f"{said}: not 1, but {_within(effect)}."
    if effect.call in _OPPOSITE:
        if effect.p_holm is None or effect.p_holm > ALPHA:
            return UNDECIDED, f"{said}: {_not_significant(effect)}."
        return NOT, f"{said}; {_significance(effect)}."
    return UNDECIDED, f"{said}: {_open(effect)}."


def _ratio(claim: Claim, effect: Effect) -> Words:
    assert claim.ratio is not None
    assert claim.tolerance is not None
    assert effect.low is not None
    assert effect.high is not None
    least, most = claim.ratio / (1 + claim.tolerance), claim.ratio * (1 + claim.tolerance)
    said = f"{_said(effect)}; published {claim.ratio:.3f}, accepted from {least:.3f} to {most:.3f}"
    if least <= effect.low and effect.high <= most:
        return HOLDS, f"{said}: all of the interval is inside."
    if effect.high < least or most < effect.low:
        return NOT, f"{said}: all of the interval is outside."
    return UNDECIDED, f"{said}: the interval reaches over a limit."


def _holds_one(effect: Effect) -> bool:
    return _holds(effect, 1.0)


def _holds(effect: Effect, factor: float) -> bool:
    assert effect.low is not None
    assert effect.high is not None
    return effect.low <= factor <= effect.high


def _published_ratio(claim: Claim) -> float | None:
    """Return the published figure of the variant over that of the other, where the claim gives both."""
    assert claim.comparison is not None
    above = claim.published.get(claim.comparison.variant)
    below = claim.published.get(claim.comparison.against)
    return above / below if above and below and above > 0 < below else None


# --- in words ----------------------------------------------------------------------------------


def _said(effect: Effect) -> str:
    one = effect.comparison
    return (
        f"{one.variant} has {effect.value:.3f} of {one.against} [{effect.low:.3f}, {effect.high:.3f}] over "
        f"{effect.blocks} blocks"
    )


def _significance(effect: Effect) -> str:
    return f"p {_p(effect.p)}, after Holm's correction over {effect.family} {_p(effect.p_holm)}"


def _not_significant(effect: Effect) -> str:
    reason = f"{_significance(effect)} is more than {ALPHA:g}"
    needed = blocks_for_family(effect.family)
    if effect.blocks < needed:
        reason += f"; over so many comparisons {needed} blocks are needed"
    return reason


def _within(effect: Effect) -> str:
    noise = "" if effect.margin <= MIN_MARGIN else ", this host's own noise"
    return f"all of it is within {_per_cent(effect.margin)}{noise}"


def _open(effect: Effect) -> str:
    if _holds_one(effect):
        return "the interval holds 1"
    return f"the value is within the margin of {_per_cent(effect.margin)}"


def _per_cent(factor: float) -> str:
    return f"{100 * factor:.1f} %"


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"
