"""What became of the sessions that were begun, by side and by block: none may vanish because its figures displeased."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from ironbench.plan import ended, next_run
from ironbench.records import Attempt, Lost, SideCounts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ironbench.records import Plan, PlannedRun, Run

_Side = tuple[str, str, bool]
"""Experiment, variant, and whether it is the variant's second session."""
_Numbered = TypeVar("_Numbered", Attempt, Lost)


def count_sides(
    plan: Plan,
    sealed: Sequence[Run],
    counted: Collection[str],
    lost: Sequence[Lost],
    attempts: Sequence[Attempt],
) -> list[SideCounts]:
    """Count what became of the sessions of each side, in the order of experiments and variants.

    ``counted`` has the keys of the sealed runs whose figures count (``scorecard.why_excluded`` names the others).
    Attempts and losses are counted by their highest number, so that one that was removed from the bundle is missed
    only where it was the last.
    """
    planned = Counter(_side(run) for run in plan.runs)
    done = Counter(_side(one.run) for one in sealed)
    counting = Counter(_side(one.run) for one in sealed if one.run.key in counted)
    faulty = Counter(_side(one.run) for one in sealed if one.instrument_faults)
    repeated = Counter(_side(one.run) for one in sealed if one.run.attempt > 1)
    causes = {
        (_side(one.run), one.run.block, one.run.attempt)
        for one in sealed
        if one.instrument_faults and one.run.attempt <= plan.retries
    }
    caused = Counter(side for side, _, _ in causes)
    losing: Counter[_Side] = Counter()
    for one in _last(lost).values():
        losing[_side(one.run)] += one.number
    due = None if ended(plan, lost) else next_run(plan, sealed)
    interrupted: Counter[_Side] = Counter()
    for run, number in interruptions({one.run.key for one in sealed}, lost, attempts, due):
        interrupted[_side(run)] += number
    order = {name: number for number, name in enumerate(plan.experiments)}
    return [
        SideCounts(
            experiment=side[0],
            variant=side[1],
            again=side[2],
            planned=planned[side],
            counted=counting[side],
            left_out=done[side] - counting[side],
            faulty=faulty[side],
            repeated=repeated[side],
            caused=caused[side],
            lost=losing[side],
            interrupted=interrupted[side],
        )
        for side in sorted(planned, key=lambda side: (order[side[0]], _variant_order(plan, side)))
    ]


def interruptions(
    sealed: Collection[str], lost: Sequence[Lost], attempts: Sequence[Attempt], due: PlannedRun | None
) -> Iterator[tuple[PlannedRun, int]]:
    """Tell how many attempts of each run that was begun were neither sealed nor lost.

    ``sealed`` has the keys of the sealed runs. One attempt of the run that is due may be under way, and is left out.
    """
    losses = {key: one.number for key, one in _last(lost).items()}
    for key, one in _last(attempts).items():
        under_way = due is not None and due.key == key
        yield one.run, max(0, one.number - losses.get(key, 0) - (key in sealed) - under_way)


def _side(run: PlannedRun) -> _Side:
    return run.experiment, run.variant, run.again


def _variant_order(plan: Plan, side: _Side) -> tuple[int, bool]:
    experiment, variant, again = side
    variants = plan.experiments[experiment].variants
    return variants.index(variant) if variant in variants else len(variants), again


def _last(numbered: Iterable[_Numbered]) -> dict[str, _Numbered]:
    """Return the one with the highest number by the run's key."""
    return {one.run.key: one for one in sorted(numbered, key=lambda one: one.number)}
