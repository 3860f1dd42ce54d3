"""Why a comparison allows no verdict, whatever its figures say.

Figures alone can be had by answering less: errors are cheap, a request that is never answered has no latency, and
work that is put off until nobody counts costs nothing. So what became of the requests decides first whether the
figures of a side may be held against those of another.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ironbench.judge import SATURATION
from ironbench.metrics import METRICS
from ironbench.records import Conduct
from ironbench.redone import agrees, factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ironbench.records import Effect, LoadResult, Noise, Plan, Run

FAILED_SHARE = 0.001
"""Of a side's requests, and of its sampled answers, that may be other than expected: a twentieth of the margin of
verdicts (2 %), which so many cheap answers cannot bridge even if they cost nothing."""

UNSENT = "unsent"
_COUNTS = ("requests", "bodies_sampled", "bodies_wrong", "crashes", "gates")


def conducts(plan: Plan, counted: Sequence[Run]) -> list[Conduct]:
    """Return what each side did with its requests, in the order of the plan's experiments; ``counted`` as for effects."""
    sides: dict[tuple[str, str], list[Run]] = {}
    for run in counted:
        sides.setdefault((run.run.experiment, run.run.side), []).append(run)
    order = list(plan.experiments)
    return [
        conduct(
            name,
            side,
            [load for run in runs for load in (run.load, run.background) if load is not None],
            crashes=sum(any(outcome.kind == "crash" for outcome in run.outcomes) for run in runs),
            expect_saturation=plan.experiments[name].expect_saturation,
        )
        for (name, side), runs in sorted(sides.items(), key=lambda item: order.index(item[0][0]))
    ]


def unfinished_plan(sealed: int, total: int, what: str) -> list[str]:
    """Say that a plan is not finished; empty when it is.

    Who may stop when the figures please him finds differences that are not there: looking after every block from the
    sixth on calls two equal variants different in 14 to 17 of 100 plans.
    """
    if sealed >= total:
        return []
    return [f"{sealed} of {total} {what} are sealed, and a verdict needs all of them"]


def withhold(
    effects: Iterable[Effect],
    of_sides: Iterable[Conduct],
    whole: Sequence[str],
    chosen: Callable[[Effect], Iterable[str]] = lambda _: (),
) -> list[Effect]:
    """Take the call from the effects that allow none, and say why.

    ``whole`` holds reasons against all of them, ``chosen`` gives those against one. A net figure is not called where
    the gross one, which holds the idle work too, is called otherwise: what is taken off may be work that was moved.
    """
    effects = list(effects)
    against = {(one.experiment, one.side): one.withheld for one in of_sides}
    found = {effect.comparison: effect for effect in effects}
    return [_held(effect, [*whole, *_reasons(effect, against, found), *chosen(effect)]) for effect in effects]


def withhold_noise(noises: Iterable[Noise], of_sides: Iterable[Conduct], whole: Sequence[str]) -> list[Noise]:
    """Take the call from the A/A effects that allow none; the noise floor stays, for it can only widen a margin."""
    noises = list(noises)
    held = withhold((noise.effect for noise in noises), of_sides, whole)
    return [msgspec.structs.replace(noise, effect=effect) for noise, effect in zip(noises, held, strict=True)]


def gross_of(effect: Effect, effects: dict) -> Effect | None:
    """Return the same comparison with idle work included; None where the metric has none, or nobody measured it."""
    gross = METRICS[effect.comparison.metric].gross if effect.comparison.metric in METRICS else ""
    return effects.get(msgspec.structs.replace(effect.comparison, metric=gross)) if gross else None


def _held(effect: Effect, reasons: Sequence[str]) -> Effect:
    if not reasons:
        return effect
    call = effect.call if effect.call == "too few runs" else "undecided"
    return msgspec.structs.replace(effect, withheld=list(dict.fromkeys(reasons)), call=call)


def _reasons(effect: Effect, against: dict[tuple[str, str], list[str]], effects: dict) -> Iterator[str]:
    one = effect.comparison
    yield from effect.withheld
    if not METRICS[one.metric].outcome:
        for side in (one.variant, one.against):
            yield from against.get((one.experiment, side), [])
    gross = gross_of(effect, effects)
    if gross is not None and not agrees(effect, gross):
        yield (
            f"without idle work {one.variant} has {factor(effect)} of {one.against} and with it {factor(gross)}, and "
            "one of the two differences may be work that was moved into the quiet time"
        )


# --- one side ----------------------------------------------------------------------------------


def conduct(
    experiment: str,
    side: str,
    loads: Sequence[LoadResult],
    *,
    crashes: int = 0,
    expect_saturation: bool = False,
) -> Conduct:
    """Return what a side did with the requests of some loads; ``crashes`` is the number of runs with one."""
    failed: Counter[str] = Counter()
    for load in loads:
        failed.update(_failed(load, expect_saturation=expect_saturation))
    made = Conduct(
        experiment=experiment,
        side=side,
        requests=sum(load.scheduled for load in loads),
        failed=dict(sorted(failed.items())),
        bodies_sampled=sum(load.bodies_sampled for load in loads),
        bodies_wrong=sum(load.bodies_wrong for load in loads),
        crashes=crashes,
        gates=sum(load.gate_after is not None and not load.gate_after.ok for load in loads),
    )
    return msgspec.structs.replace(made, withheld=list(_complaints(made)))


def together(several: Sequence[Conduct]) -> list[str]:
    """Return why no verdict may rest on several conducts of one side taken together; empty when all is well."""
    failed: Counter[str] = Counter()
    for one in several:
        failed.update(one.failed)
    if not several:
        return []
    return list(
        _complaints(
            msgspec.structs.replace(
                several[0],
                failed=dict(sorted(failed.items())),
                **{name: sum(getattr(one, name) for one in several) for name in _COUNTS},
            )
        )
    )


def _failed(load: LoadResult, *, expect_saturation: bool) -> dict[str, int]:
    """Count what failed; saturation that an experiment is made for shows as unsent requests and as timeouts."""
    found = {"unexpected status": load.unexpected_status, UNSENT: load.unsent, **load.errors}
    meant = (UNSENT, "timeout") if expect_saturation else ()
    return {what: count for what, count in found.items() if count and what not in meant}


def _complaints(one: Conduct) -> Iterator[str]:
    failed = {what: count for what, count in one.failed.items() if what != UNSENT or _saturated(one)}
    number = sum(failed.values())
    if number > FAILED_SHARE * one.requests:
        kinds = ", ".join(f"{count} {what}" for what, count in failed.items())
        share = f" or {100 * number / one.requests:.3g} %" if one.requests else ""
        yield (
            f"{number} of {one.requests} requests{share} to {one.side} failed ({kinds}; at most {100 * FAILED_SHARE:g} % may)"
        )
    if one.bodies_wrong > FAILED_SHARE * one.bodies_sampled:
        yield (
            f"{one.bodies_wrong} of {one.bodies_sampled} sampled answers of {one.side} are not what the experiment expects"
        )
    if one.gates:
        yield f"{one.side} did not answer as the experiment expects after {_runs(one.gates)}"
    if one.crashes:
        yield f"{one.side} ended by itself in {_runs(one.crashes)}"


def _saturated(one: Conduct) -> bool:
    """Whether so many requests were not sent that the side did not keep up; a late generator leaves one or two a window."""
    return one.failed.get(UNSENT, 0) > (1 - SATURATION.limit) * one.requests


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"
