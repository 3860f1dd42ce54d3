"""From the results of several bundles to what they say together: pure.

A call needs paired blocks, which two bundles do not share: a bundle is one visit to its hosts, and its sessions do not
tell a change between two versions from one between two days. So bundles are set beside each other, and nothing is called
between them.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from ironbench.compare.environment import Difference, Side, differences, other_question, refusal
from ironbench.compare.price import Priced, priced
from ironbench.compare.shift import Shift, shift
from ironbench.metrics import METRICS
from ironbench.records import SCHEMA, Call, Comparison, Effect, Record, VerdictWord
from ironbench.study import first_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.records import Claim, RunFigures

DEFAULT_METRICS = ("app_cpu_ms", "database_cpu_ms", "sum_cpu_ms", "latency_mean", "latency_p90")


class Bundle(Record, frozen=True, kw_only=True):
    """One of the compared bundles, by the letter that stands for it."""

    letter: str
    path: str
    id: str
    created: str
    hosts: dict[str, str]
    """CPU model by host."""
    counted: int
    sealed: int
    total: int
    damaged: int
    """Files that are left out."""


class Beside(Record, frozen=True, kw_only=True):
    """One effect in every bundle."""

    comparison: Comparison
    effects: list[Effect | None]
    """By bundle; None where it was not measured."""
    against_first: list[Shift | None]
    """The effect of each bundle over that of the first, from the blocks of both; None where one has none."""
    says: str
    """Whether it is the same everywhere."""


class Between(Record, frozen=True, kw_only=True):
    """One variant's figure in every bundle."""

    experiment: str
    metric: str
    variant: str
    medians: list[float | None]
    """Over sessions, by bundle; None where the comparison is refused."""
    sessions: list[int]
    ratios: list[float | None]
    """Each bundle's sessions over the first's (Hodges-Lehmann); None for the first, and where there is nothing to
    compare. Without an interval or a call: the sessions of a bundle say nothing of what differs from visit to visit."""


class ClaimBeside(Record, frozen=True, kw_only=True):
    id: str
    says: str
    differs: list[str]
    """What is not the same in another bundle's claim of this id, by the fields of a claim; each is then a row."""
    words: list[VerdictWord | None]
    """By bundle; None where its study does not have the claim."""
    everywhere: str
    """Whether it holds in all of them."""


class Compared(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench compare``."""

    schema: int
    bundles: list[Bundle]
    differences: list[Difference]
    effects: list[Beside]
    claims: list[ClaimBeside]
    refused: list[str]
    """Why absolute times are not set beside each other, a sentence each."""
    between: list[Between]
    priced: list[Priced]
    """Empty where no bundle tells what its machines cost."""


def compare(sides: Sequence[Side], metrics: Sequence[str] = DEFAULT_METRICS, *, factor: str = "") -> Compared:
    """Compare bundles, the first of which the others are held against; ``factor`` is as in ``refusal``."""
    refused = [_sentence(why, other) for other in sides[1:] if (why := refusal(sides[0], other, factor))]
    refused += _other_questions(sides, factor)
    return Compared(
        schema=SCHEMA,
        bundles=[_bundle(side) for side in sides],
        differences=differences(sides),
        effects=[_beside(sides, one) for one in _comparisons(sides, metrics)],
        claims=_claims(sides),
        refused=refused,
        between=_between(sides, metrics, factor),
        priced=priced(
            sides,
            lambda side, name, variant, metric: _sessions(side.results.runs, name, variant, metric),
        ),
    )


def _bundle(side: Side) -> Bundle:
    results = side.results
    models = {host: str(told.get("cpu_model", "not told")) for host, told in results.environment.items()}
    return Bundle(
        letter=side.letter,
        path=side.path,
        id=results.manifest.id,
        created=results.manifest.created,
        hosts=models,
        counted=sum(run.counted for run in results.runs),
        sealed=results.sealed,
        total=results.total,
        damaged=len(results.damaged),
    )


# --- within each bundle ------------------------------------------------------------------------


def _comparisons(sides: Sequence[Side], metrics: Sequence[str]) -> list[Comparison]:
    """Return each variant against its experiment's first, in the order of the first bundle that has it."""
    found: dict[Comparison, None] = {}
    for side in sides:
        for name, experiment in side.plan.experiments.items():
            first = first_variant(experiment, side.plan.baseline)
            for metric in metrics:
                for variant in experiment.variants:
                    if variant != first:
                        one = Comparison(experiment=name, metric=metric, variant=variant, against=first)
                        found[one] = None
    effects = {effect.comparison for side in sides for effect in side.results.effects if effect.blocks}
    return [one for one in found if one in effects]


def _beside(sides: Sequence[Side], comparison: Comparison) -> Beside:
    effects = [
        next((effect for effect in side.results.effects if effect.comparison == comparison), None)
        for side in sides
    ]
    first = effects[0]
    against = [
        shift(list(first.per_block.values()), list(effect.per_block.values())) if first and effect else None
        for effect in effects[1:]
    ]
    return Beside(comparison=comparison, effects=effects, against_first=[None, *against], says=_says(effects))


def _says(effects: Sequence[Effect | None]) -> str:
    known = [effect for effect in effects if effect is not None and effect.blocks]
    calls = {_call(effect) for effect in known}
    if None in calls:
        return "no verdict: packed"
    if len(known) < len(effects):
        return "not in every bundle"
    if "too few runs" in calls:
        return "too few runs"
    if {"lower", "higher"} <= calls:
        return "opposite"
    if len(calls) > 1 or "undecided" in calls:
        return "not decided everywhere" if "undecided" in calls else "not the same everywhere"
    return f"{calls.pop()} everywhere"


def _call(effect: Effect) -> Call | None:
    """Return what an effect shows; None where a packed layout allows no verdict."""
    return None if effect.packed and _needs_own_cpus(effect.comparison.metric) else effect.call


def _needs_own_cpus(metric: str) -> bool:
    return METRICS[metric].latency or METRICS[metric].whole_cpus


def _claims(sides: Sequence[Side]) -> list[ClaimBeside]:
    """Set the words on each claim side by side; claims match by all that they say, and not by their id alone."""
    words: list[list[tuple[Claim, VerdictWord]]] = [
        [(verdict.claim, verdict.word) for verdict in side.results.claims] for side in sides
    ]
    by_id: dict[str, list[Claim]] = {}
    for claim, _ in (one for known in words for one in known):
        alike = by_id.setdefault(claim.id, [])
        if claim not in alike:
            alike.append(claim)
    found = []
    for name, alike in by_id.items():
        for claim in alike:
            row: list[VerdictWord | None] = [
                next((word for one, word in known if one == claim), None) for known in words
            ]
            if any(word not in (None, "not testable here") for word in row):
                everywhere = _everywhere(row) if len(alike) == 1 else "not the same claim everywhere"
                found.append(
                    ClaimBeside(
                        id=name,
                        says=claim.says,
                        differs=_differing_fields(alike),
                        words=row,
                        everywhere=everywhere,
                    )
                )
    return found


def _differing_fields(claims: Sequence[Claim]) -> list[str]:
    return [
        name
        for name in type(claims[0]).__struct_fields__
        if any(getattr(claim, name) != getattr(claims[0], name) for claim in claims)
    ]


def _everywhere(words: Sequence[VerdictWord | None]) -> str:
    known = set(words)
    if known <= {"holds here"}:
        return "holds everywhere"
    if known <= {"does not hold here"}:
        return "holds nowhere"
    if {"holds here", "does not hold here"} <= known:
        return "holds not everywhere"
    return "not decided everywhere"


# --- between bundles ---------------------------------------------------------------------------


def _sentence(why: str, other: Side) -> str:
    return f"No absolute times of {other.letter}: {why}; the ratios above compare what can be compared."


def _other_questions(sides: Sequence[Side], factor: str) -> list[str]:
    sentences = []
    for other in sides[1:]:
        if refusal(sides[0], other, factor):
            continue
        for name in _shared_experiments(sides[0], other):
            differing = other_question(name, sides[0], other)
            if differing:
                why = f"it asks something else of {name} ({', '.join(differing)})"
                sentences.append(f"No absolute times of {other.letter} in {name}: {why}.")
    return sentences


def _shared_experiments(first: Side, other: Side) -> list[str]:
    return [name for name in first.plan.experiments if name in other.plan.experiments]


def _between(sides: Sequence[Side], metrics: Sequence[str], factor: str) -> list[Between]:
    """Compare each variant with itself in the other bundles, where absolute times can be compared."""
    found = []
    for name, experiment in sides[0].plan.experiments.items():
        allowed = [_allowed(name, sides[0], other, factor) for other in sides[1:]]
        if not any(allowed):
            continue
        for metric in metrics:
            for variant in experiment.variants:
                figures = [
                    _sessions(side.results.runs, name, variant, metric) if ok else []
                    for ok, side in zip((True, *allowed), sides, strict=True)
                ]
                if figures[0] and any(figures[1:]):
                    found.append(_one((name, metric, variant), figures))
    return found


def _allowed(name: str, first: Side, other: Side, factor: str) -> bool:
    return (
        name in other.plan.experiments
        and not refusal(first, other, factor)
        and not other_question(name, first, other)
    )


def _one(what: tuple[str, str, str], figures: Sequence[Sequence[float]]) -> Between:
    name, metric, variant = what
    shifts = [shift(figures[0], others) for others in figures[1:]]
    return Between(
        experiment=name,
        metric=metric,
        variant=variant,
        medians=[statistics.median(group) if group else None for group in figures],
        sessions=[len(group) for group in figures],
        ratios=[None, *(None if one is None else one.value for one in shifts)],
    )


def _sessions(runs: Iterable[RunFigures], experiment: str, variant: str, metric: str) -> list[float]:
    """Return one figure a session of a variant; a twin's sessions are its own.

    Several measured runs of a session (protocol ``article``) give the mean of their figures; of their latency
    the mean by count, and no percentile, since percentiles are never averaged.
    """
    sessions: dict[tuple[int, int], list[RunFigures]] = {}
    for run in runs:
        if run.counted and not run.again and (run.experiment, run.variant) == (experiment, variant):
            sessions.setdefault((run.block, run.attempt), []).append(run)
    figures = (_session(group, metric) for group in sessions.values())
    return [figure for figure in figures if figure is not None and 0 < figure < math.inf]


def _session(runs: Sequence[RunFigures], metric: str) -> float | None:
    host = METRICS[metric].source == "host"
    known = [run for run in runs if metric in run.figures and (run.number or host)]
    if len(known) > 1 and METRICS[metric].latency:
        if metric != "latency_mean":
            return None
        count = sum(run.latency.count for run in known)
        return math.fsum(run.latency.count * run.latency.mean for run in known) / count
    return statistics.fmean(run.figures[metric] for run in known) if known else None
