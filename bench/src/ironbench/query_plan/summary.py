"""From executions to figures, effects and verdicts: records in, records out."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, get_args

import msgspec

from ironbench.effects import compare
from ironbench.metrics import PLAN_METRICS
from ironbench.records import CacheState, Comparison, QueryPlanFigures, QueryPlanSummary
from ironbench.stats import MIN_BLOCKS, MIN_MARGIN, estimate, holm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.records import (
        Claim,
        Effect,
        QueryExecution,
        QueryPlanCase,
        QueryPlanRecord,
        QueryPlanTest,
        VerdictWord,
    )

INDEX_SCAN = "Index Scan"


def case_name(test: str, configuration: str, state: str) -> str:
    """Name what claims call the experiment: one test in one configuration and one state of the caches."""
    return f"{test}.{configuration}.{state}"


def case_names(tests: dict[str, QueryPlanTest]) -> dict[str, list[str]]:
    """Return the settings of each case of a study's tests, by the case's name."""
    return {
        case_name(name, configuration, state): list(test.settings)
        for name, test in tests.items()
        for configuration in test.configurations
        for state in get_args(CacheState)
    }


def summarise(record: QueryPlanRecord, claims: Sequence[Claim] = ()) -> QueryPlanSummary:
    """Compute medians and effects; p is corrected over the comparisons that claims of directions rest on."""
    figures = [
        _figures(record, case, setting) for case in record.cases for setting in record.order.test.settings
    ]
    effects = [effect for case in record.cases for effect in _effects(record, case)]
    asked = {claim.comparison for claim in claims if claim.kind == "direction" and not claim.not_testable}
    tested = [effect for effect in effects if effect.comparison in asked and effect.p is not None]
    corrected = dict(
        zip(
            (effect.comparison for effect in tested),
            holm([1.0 if effect.p is None else effect.p for effect in tested]),
            strict=True,
        )
    )
    effects = [
        msgspec.structs.replace(effect, p_holm=corrected[effect.comparison], family=len(tested))
        if effect.comparison in corrected
        else effect
        for effect in effects
    ]
    return QueryPlanSummary(record=record, figures=figures, effects=effects)


def judge_scan(claim: Claim, summary: QueryPlanSummary) -> tuple[VerdictWord, str]:
    """Say whether the planner chose an index scan on one side and something else on the other, every time."""
    assert claim.comparison is not None
    one = claim.comparison
    found = {f.setting: f for f in summary.figures if f.case == one.experiment}
    here, there = found[one.variant], found[one.against]
    said = f"{one.variant}: {scans_text(here)}; {one.against}: {scans_text(there)}"
    if min(here.executions, there.executions) < MIN_BLOCKS:
        return "undecided", f"Too few executions for a verdict: {MIN_BLOCKS} of each are needed; {said}."
    shares = [figures.scans.get(INDEX_SCAN, 0) / figures.executions for figures in (here, there)]
    if shares == [1.0, 0.0]:
        return "holds here", f"{said}."
    if shares[0] <= shares[1]:
        return "does not hold here", f"{said}."
    return "undecided", f"{said}: not the same plan each time."


def scans_text(figures: QueryPlanFigures) -> str:
    """Write which plans the executions had."""
    return ", ".join(f"{scan} {count} of {figures.executions}" for scan, count in figures.scans.items())


def _of(case: QueryPlanCase, setting: str) -> list[QueryExecution]:
    return [execution for execution in case.executions if execution.setting == setting]


def _figures(record: QueryPlanRecord, case: QueryPlanCase, setting: str) -> QueryPlanFigures:
    executions = _of(case, setting)
    time = estimate([execution.execution_ms for execution in executions])
    disk = [execution.disk_bytes for execution in executions]
    known = [count for count in disk if count is not None]
    return QueryPlanFigures(
        case=case_name(record.order.name, case.configuration, case.state),
        setting=setting,
        scans=dict(Counter(execution.scan for execution in executions).most_common()),
        executions=len(executions),
        execution_ms=time.value,
        low=time.low,
        high=time.high,
        planning_ms=statistics.median(execution.planning_ms for execution in executions),
        hit=statistics.median(execution.hit for execution in executions),
        read=statistics.median(execution.read for execution in executions),
        disk_bytes=statistics.median(known) if len(known) == len(disk) else None,
    )


def _effects(record: QueryPlanRecord, case: QueryPlanCase) -> Iterator[Effect]:
    first, *others = record.order.test.settings
    name = case_name(record.order.name, case.configuration, case.state)
    for setting in others:
        for metric, figure in PLAN_METRICS.items():
            if figure.of is None:
                continue
            sides = [{e.block: float(figure.of(e)) for e in _of(case, side)} for side in (setting, first)]
            comparison = Comparison(experiment=name, metric=metric, variant=setting, against=first)
            yield compare(comparison, *sides, margin=MIN_MARGIN)
