"""From counted runs to effects: each comparison's factor over paired blocks, and the A/A noise floor.

A session is the unit of replication. Where it holds several measured runs (protocol ``article``, imported
logs) its latency is that of the runs merged by count, every other figure their mean; a session's sar run
(number 0) gives figures of the hosts and nothing else.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import msgspec

from ironbench.cells import pairs
from ironbench.judge import packed_hosts
from ironbench.metrics import METRICS
from ironbench.records import Comparison, Effect, Noise
from ironbench.stats import MIN_MARGIN, call, farthest, log_ratios, ratio, sign_flip_p

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ironbench.metrics import Metric
    from ironbench.records import Latency, Plan, Run

    Figures = Mapping[int, float | None]
    """Of one side in one metric, by block."""

    Sessions = dict[str, dict[int, list[Run]]]
    """Counted runs of one experiment, by side and block."""

NO_FIGURE = "no figure"
"""Start of the reason why a block is left out although its run is there."""

AROUND_ZERO_SHARE = 0.1
"""Of the blocks that have both figures, in which one may be zero or less: beyond, what is left is chosen by its sign."""


def make_effects(
    plan: Plan,
    counted: Sequence[Run],
    asked: Iterable[Comparison],
    *,
    latency: Callable[[Sequence[Run]], Latency],
) -> tuple[list[Noise], list[Effect]]:
    """Return the noise and all effects of a bundle, in the order of experiments and metrics.

    ``counted`` are the runs whose figures count, ``asked`` the comparisons that claims rest on, in
    addition to the pairs of each experiment (``ironbench.cells``). ``latency`` merges the
    distributions of several runs. A comparison without a block that has both figures is left out unless it
    was asked for.
    """
    of_experiment: dict[str, Sessions] = {}
    twins: dict[str, dict[str, str]] = {}
    for run in counted:
        planned = run.run
        sides = of_experiment.setdefault(planned.experiment, {})
        sides.setdefault(planned.side, {}).setdefault(planned.block, []).append(run)
        if planned.again:
            twins.setdefault(planned.experiment, {})[planned.side] = planned.variant
    wanted: dict[tuple[str, str], list[Comparison]] = {}
    for one in asked:
        wanted.setdefault((one.experiment, one.metric), []).append(one)
    noise: list[Noise] = []
    effects: list[Effect] = []
    for name in plan.experiments:
        sessions = of_experiment.get(name, {})
        packed = any(packed_hosts(run.layout) for run in _all_runs(sessions))
        merged = {side: _merged(blocks, latency) for side, blocks in sessions.items()}
        for metric in METRICS.values():
            figures = {side: _figures(metric, sessions[side], merged[side]) for side in sessions}
            here = []
            for side, variant in twins.get(name, {}).items():
                comparison = Comparison(experiment=name, metric=metric.name, variant=side, against=variant)
                found = make_noise(comparison, figures[side], figures.get(variant, {}), packed=packed)
                here += [found] if found.effect.blocks else []
            noise += here
            floor = max((one.floor for one in here if one.floor is not None), default=0.0)
            for comparison, needed in _comparisons(plan, name, metric.name, wanted).items():
                effect = compare(
                    comparison,
                    figures.get(comparison.variant, {}),
                    figures.get(comparison.against, {}),
                    margin=max(floor, MIN_MARGIN),
                    packed=packed,
                )
                if needed or effect.blocks:
                    effects.append(effect)
    return noise, effects


def compare(
    comparison: Comparison, variant: Figures, against: Figures, *, margin: float, packed: bool = False
) -> Effect:
    """Compare two sides by their figures of the same blocks.

    A block of which a side has no figure (None: its run does not have it), or one that is not positive, is
    left out and named. With more than AROUND_ZERO_SHARE of the latter there is no effect.
    """
    numerators, denominators, blocks = [], [], []
    left_out = {}
    around_zero = _around_zero(comparison, variant, against)
    for block in sorted({*variant, *against}):
        above, below = variant.get(block), against.get(block)
        why = _unusable(comparison.variant, variant, block) or _unusable(comparison.against, against, block)
        if why or above is None or below is None:
            left_out[block] = why
            continue
        numerators.append(above)
        denominators.append(below)
        blocks.append(block)
    if around_zero or not blocks:
        return Effect(
            comparison=comparison, value=None, low=None, high=None, coverage=None, blocks=0, p=None,
            margin=margin, call="undecided" if around_zero else "too few runs", packed=packed,
            withheld=around_zero, left_out=left_out,
        )  # fmt: skip
    made = ratio(numerators, denominators)
    return Effect(
        comparison=comparison,
        value=made.value,
        low=made.low,
        high=made.high,
        coverage=made.coverage,
        blocks=made.blocks,
        p=None if made.low is None else sign_flip_p(log_ratios(numerators, denominators)),
        margin=margin,
        call=call(made, margin),
        packed=packed,
        per_block={b: n / d for b, n, d in zip(blocks, numerators, denominators, strict=True)},
        left_out=left_out,
    )


def make_noise(comparison: Comparison, again: Figures, first: Figures, *, packed: bool = False) -> Noise:
    """Compare a variant's second sessions with its first: what they differ by is the noise floor.

    The call is made with the least margin, for the floor of an A/A holds that very A/A.
    """
    effect = compare(comparison, again, first, margin=MIN_MARGIN, packed=packed)
    return Noise(effect=effect, floor=None if effect.low is None else farthest(effect.low, effect.high))


def _around_zero(comparison: Comparison, variant: Figures, against: Figures) -> list[str]:
    """Say that too many blocks have a figure that forms no ratio; empty when few do."""
    both = [
        (above, below)
        for block, above in variant.items()
        if above is not None and (below := against.get(block)) is not None
    ]
    none = sum(min(pair) <= 0 for pair in both)
    if none <= AROUND_ZERO_SHARE * len(both):
        return []
    sides = f"{comparison.variant} or {comparison.against}"
    return [f"{sides} has no positive figure in {none} of {len(both)} blocks: around zero, it forms no ratio"]


def _unusable(side: str, figures: Figures, block: int) -> str:
    figure = figures.get(block)
    if figure is None:
        return f"{NO_FIGURE if block in figures else 'no run counts'} of {side}"
    return "" if 0 < figure < math.inf else f"{side} has {figure:g}, and a ratio needs a positive figure"


# --- one experiment ----------------------------------------------------------------------------


def _all_runs(sessions: Sessions) -> Iterator[Run]:
    return (run for blocks in sessions.values() for runs in blocks.values() for run in runs)


def _merged(blocks: dict[int, list[Run]], latency: Callable[[Sequence[Run]], Latency]) -> dict[int, Run]:
    """Return one measured run a session, several with their latency merged; none where all were sar's."""
    found = {}
    for block, runs in blocks.items():
        measured = [run for run in runs if run.run.number]
        if len(measured) > 1:
            load = msgspec.structs.replace(measured[0].load, latency=latency(measured))
            found[block] = msgspec.structs.replace(measured[0], load=load)
        elif measured:
            found[block] = measured[0]
    return found


def _figures(metric: Metric, blocks: dict[int, list[Run]], merged: dict[int, Run]) -> dict[int, float | None]:
    """Return a session's figure by block."""
    figures: dict[int, float | None] = {}
    for block, runs in blocks.items():
        measured = [run for run in runs if run.run.number]
        if metric.latency:
            # Of a background no distribution is at hand to merge, and percentiles are never averaged.
            whole = metric.source == "load" or len(measured) == 1
            figures[block] = metric.figure(merged[block]) if whole and block in merged else None
            continue
        found = [metric.figure(run) for run in (runs if metric.source == "host" else measured)]
        known = [figure for figure in found if figure is not None]
        figures[block] = statistics.fmean(known) if known else None
    return figures


def _comparisons(
    plan: Plan, name: str, metric: str, wanted: dict[tuple[str, str], list[Comparison]]
) -> dict[Comparison, bool]:
    """Return the comparisons to make, and whether a claim rests on them."""
    variants = plan.experiments[name].variants
    made = {
        Comparison(experiment=name, metric=metric, variant=variant, against=against): False
        for variant, against in pairs(plan.experiments[name], plan.baseline)
    }
    known = (one for one in wanted.get((name, metric), []) if {one.variant, one.against} <= set(variants))
    return made | dict.fromkeys(known, True)
