"""The sections that answer: verdicts on claims, effects, and the noise that both are held against."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

from ironbench.records import VerdictWord
from ironbench.report.forest import by_experiment, by_metric, effect_table, forest
from ironbench.report.model import Section, Table
from ironbench.report.words import call_text, effect_text, margin_text, metric_title, sides_text
from ironbench.stats import MIN_BLOCKS

if TYPE_CHECKING:
    from ironbench.records import Effect, Noise, Results, Verdict

SIGNS: dict[VerdictWord, str] = {
    "holds here": "✓",
    "does not hold here": "✗",
    "undecided": "?",
    "not testable here": "–",  # noqa: RUF001 - a dash is meant
}

HEADLINES = (
    "app_cpu_ms",
    "database_cpu_ms",
    "sum_cpu_ms",
    "latency_mean",
    "latency_p50",
    "latency_p90",
    "latency_p99",
    "background_latency_mean",
)
"""Metrics whose effects are shown at once; the others are a click away."""


def tallies(results: Results) -> dict[str, int]:
    """Count the verdicts; empty where the bundle carries no claims."""
    counts = Counter(verdict.word for verdict in results.claims)
    return {f"{SIGNS[word]} {word}": counts[word] for word in get_args(VerdictWord)} if counts else {}


def verdict_section(results: Results) -> Section:
    """Make the summary of verdicts, which comes before anything else."""
    if not results.claims:
        return Section(
            title="Verdicts", paragraphs=["This bundle carries no claims, so there is none to judge."]
        )
    return Section(
        title="Verdicts",
        paragraphs=_outside_of_plan(results),
        table=Table(
            header=["Claim", "Verdict", "It says", "Reason", "Measured", "Effect (95 % interval)"],
            rows=[
                [
                    verdict.claim.id,
                    f"{SIGNS[verdict.word]} {verdict.word}",
                    f"{verdict.claim.says} ({verdict.claim.source})",
                    verdict.reason,
                    *_measured(verdict),
                ]
                for verdict in sorted(results.claims, key=_place)
            ],
            words=5,
            prose=[2, 3],
        ),
        notes=_verdict_notes(results),
    )


def _outside_of_plan(results: Results) -> list[str]:
    """Say what a choice of experiments or variants takes out of the correction."""
    left = results.left_out_claims
    if left is None:
        return []
    count = "1 claim is" if left.claims == 1 else f"{left.claims} claims are"
    said = (
        f"{count} left out, for this plan does not measure all of the study ({', '.join(left.experiments)}): p is "
        f"corrected over {left.family} comparisons, and would be over {left.whole_family} with the whole study."
    )
    return [said]


def _place(verdict: Verdict) -> tuple[bool, bool, int]:
    """First what was decided here by measuring, then by the published logs, then what cannot be tested."""
    word = get_args(VerdictWord).index(verdict.word)
    return verdict.word == "not testable here", verdict.claim.kind == "record", word


def _measured(verdict: Verdict) -> tuple[str, str]:
    if verdict.effect is None:
        return "-", "-"
    one = verdict.effect.comparison
    what = f"{one.experiment}, {metric_title(one.metric, unit=False)}: {sides_text(one)}"
    return what, effect_text(verdict.effect)


def _verdict_notes(results: Results) -> list[str]:
    notes = []
    if any(verdict.effect is not None for verdict in results.claims):
        notes.append(
            "Effect: the median over blocks of the ratio within a block, as a change against the other side."
        )
    corrected = [effect for effect in results.effects if effect.p_holm is not None]
    if corrected:
        notes.append(
            f"Over the {len(corrected)} comparisons that claims rest on, p is corrected by Holm's procedure."
        )
    return notes


# --- effects -----------------------------------------------------------------------------------


def effects_section(results: Results) -> Section:
    """Draw the headline effects of each experiment, and list them all."""
    if not results.effects:
        return Section(
            title="Effects", paragraphs=["No experiment has two sides that were measured in one block."]
        )
    claimed = {verdict.effect.comparison for verdict in results.claims if verdict.effect is not None}
    baselines = {card.experiment: card.first for card in results.scorecards}
    headline = [
        effect
        for effect in results.effects
        if effect.comparison in claimed
        or (
            effect.comparison.metric in HEADLINES
            and effect.comparison.against == baselines.get(effect.comparison.experiment)
        )
    ]
    charts = [
        forest(
            f"{card.experiment}: effects",
            by_metric([effect for effect in headline if effect.comparison.experiment == card.experiment]),
        )
        for card in results.scorecards
    ]
    notes = [
        "Change of the first side's figure against the second's, with its 95 % interval over blocks.",
        "A difference within the margin is none.",
    ]
    if any(effect.blocks < MIN_BLOCKS for effect in headline):
        notes.append(f"Fewer than {MIN_BLOCKS} blocks: too few runs for a verdict, and no interval.")
    reasons = {reason for one in results.conduct for reason in one.withheld} | set(results.withheld)
    notes += [
        f"No verdict on {metric_title(effect.comparison.metric, unit=False)} of {effect.comparison.experiment}: {reason}."
        for effect in headline
        for reason in effect.withheld
        if reason not in reasons  # those are at the head of the report
    ]
    left_out = _left_out(results.effects)
    if left_out:
        notes.append(
            f"{len(left_out)} blocks were left out of a comparison because one side has no figure there; "
            "results.json names them."
        )
    mixed = [card.experiment for card in results.scorecards if card.background]
    if mixed:
        notes.append(f"{', '.join(mixed)}: CPU per request is over the requests of both loads.")
    return Section(
        title="Effects",
        table=effect_table(headline),
        notes=notes,
        charts=[chart for chart in charts if chart is not None],
        drawn=True,
        folded=[(f"All {len(results.effects)} effects", effect_table(results.effects))],
    )


def _left_out(effects: list[Effect]) -> list[str]:
    return [f"{effect.comparison}{block}" for effect in effects for block in effect.left_out]


# --- noise -------------------------------------------------------------------------------------


def noise_section(results: Results) -> Section:
    """Say what a variant differs by from itself on this host."""
    title = "Noise floor: a variant against itself (A/A)"
    if not results.noise:
        return Section(
            title=title,
            paragraphs=[
                "Not measured: no variant has a second session in its blocks. The margin is then 2 % alone."
            ],
        )
    headline = [noise for noise in results.noise if noise.effect.comparison.metric in HEADLINES]
    told = [noise for noise in headline if not _is_none(noise)]
    sentence = "Neither session is faster or slower: every interval of the metrics below holds zero."
    if any(noise.effect.low is None for noise in headline):
        sentence = "Too few blocks for intervals, so the noise of this host is not known yet."
    elif told:
        sentence = (
            f"{len(told)} of {len(headline)} intervals do not hold zero, which one in twenty does not by chance. "
            "Each widens the margin of its metric."
        )
    table = _noise_table(headline)
    chart = forest("A variant against itself", by_experiment([noise.effect for noise in headline]), table)
    return Section(
        title=title,
        paragraphs=[sentence],
        table=table,
        notes=[
            "Floor: the end of the interval that is farther from zero. A metric's margin is its floor, at least 2 %."
        ],
        charts=[chart] if chart else [],
        drawn=True,
        folded=[(f"All {len(results.noise)} metrics", _noise_table(results.noise))],
    )


def _is_none(noise: Noise) -> bool:
    effect = noise.effect
    return effect.low is not None and effect.high is not None and effect.low <= 1 <= effect.high


def _noise_table(noises: list[Noise]) -> Table:
    return Table(
        header=["Experiment", "Metric", "Sides", "Shows", "A/A (95 % interval)", "Floor"],
        rows=[
            [
                noise.effect.comparison.experiment,
                metric_title(noise.effect.comparison.metric, unit=False),
                sides_text(noise.effect.comparison),
                call_text(noise.effect),
                effect_text(noise.effect),
                "-" if noise.floor is None else margin_text(noise.floor),
            ]
            for noise in noises
        ],
        words=4,
    )
