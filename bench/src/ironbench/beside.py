"""Figures beside the scorecards: blocked event loops, searches, and effects that depend on a second factor."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from ironbench.cells import factors, level, pairs
from ironbench.judge import packed_hosts
from ironbench.metrics import METRICS, PERCENTILES, percentile_shown
from ironbench.records import BlockedLoop, Curve, Dependence, Searched
from ironbench.within import shares, sides_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.records import Effect, Experiment, Factor, Plan, Run

ARTICLES_THRESHOLD_MS = 100
SHOWN = ("app_cpu_ms", "latency_mean", "latency_p90", "latency_p99")
"""Metrics in which a dependence is looked for: those that the article reads."""


def blocked_loops(plan: Plan, counted: Sequence[Run]) -> list[BlockedLoop]:
    """Return what blocked the event loop in each side's runs."""
    found = []
    for name in plan.experiments:
        for side in sides_of(plan, name, counted):
            runs = [run for run in counted if (run.run.experiment, run.run.side) == (name, side)]
            blocks = [run.loop_blocks for run in runs if run.loop_blocks is not None]
            if not blocks:
                continue
            known = [ms for run in runs if (ms := METRICS["blocked_ms"].figure(run)) is not None]
            durations = sorted(ms for one in blocks for ms in one.durations_ms)
            found.append(
                BlockedLoop(
                    experiment=name,
                    side=side,
                    runs=len(blocks),
                    requests=sum(run.load.expected for run in runs if run.loop_blocks is not None),
                    callbacks=len(durations),
                    per_request_ms=statistics.median(known) if known else None,
                    quantiles_ms=_quantiles(durations),
                    from_100_ms=sum(ms >= ARTICLES_THRESHOLD_MS for ms in durations),
                    curve=_curve(name, side, durations),
                )
            )
    return found


def _quantiles(durations: Sequence[float]) -> dict[str, float]:
    """Return the percentiles that have enough samples above them, and the maximum."""
    found = {
        name: _quantile(durations, PERCENTILES[name] / 100)
        for name in ("p50", "p90", "p99")
        if percentile_shown(len(durations), PERCENTILES[name])
    }
    return found | ({"max": durations[-1]} if durations else {})


def _quantile(durations: Sequence[float], share: float) -> float:
    """Return what a part of the samples, which are ascending, does not exceed."""
    return durations[max(0, math.ceil(round(len(durations) * share, 6)) - 1)]


def _curve(experiment: str, side: str, durations: Sequence[float]) -> Curve | None:
    if not durations:
        return None
    parts = shares(len(durations))
    return Curve(
        experiment=experiment,
        side=side,
        count=len(durations),
        shares=parts,
        ms=[_quantile(durations, part) for part in parts],
    )


def searches(counted: Iterable[Run]) -> list[Searched]:
    """Return the search of each run that has one."""
    return [
        Searched(
            experiment=run.run.experiment,
            side=run.run.side,
            block=run.run.block,
            result=run.search,
            window=run.load.latency,
            packed=bool(packed_hosts(run.layout)),
        )
        for run in counted
        if run.search is not None
    ]


def dependences(plan: Plan, effects: Iterable[Effect]) -> list[Dependence]:
    """Return the effects of an experiment's first factor beside each other, by the level of each that it is crossed with."""
    by_pair = {(one.comparison.experiment, one.comparison.metric, one.comparison.variant, one.comparison.against): one for one in effects}  # fmt: skip
    found = []
    for name, experiment in plan.experiments.items():
        first, *others = factors(experiment)
        for other in others:
            compared = _compared(experiment, plan.baseline, first, other)
            for metric in SHOWN:
                for change, sides in compared.items():
                    beside = {
                        at: by_pair[key]
                        for at, pair in sides.items()
                        if (key := (name, metric, *pair)) in by_pair
                    }
                    if len(beside) > 1:
                        found.append(
                            Dependence(
                                experiment=name,
                                metric=metric,
                                factor=other,
                                change=change,
                                effects=beside,
                                depends=_depends(beside, metric),
                            )
                        )
    return found


def _compared(
    experiment: Experiment, baseline: str, first: Factor, other: Factor
) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the pairs of sides by what they compare and by the level of the other factor."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for one, against in pairs(experiment, baseline):
        changed = [level(experiment, side, first) for side in (one, against)]
        at = [level(experiment, side, other) for side in (one, against)]
        if changed[0] != changed[1] and at[0] == at[1]:
            found.setdefault(f"{changed[0]} against {changed[1]}", {})[at[0]] = (one, against)
    return found


def _depends(effects: dict[str, Effect], metric: str) -> bool | None:
    if METRICS[metric].latency and any(effect.packed for effect in effects.values()):
        return None
    calls = {effect.call for effect in effects.values()}
    if calls & {"undecided", "too few runs"}:
        return None
    return len(calls) > 1
