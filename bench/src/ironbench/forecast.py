"""What a plan will do before it is made: its order, how long it takes, and which effects it can see.

An effect can be seen when it stands out from what blocks differ by without one. That noise is taken from a
bundle that was measured before: from its A/A, or where it has none from how the log-ratios of its variants
scatter over blocks, which holds the same chance and all that the variants do not share.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Literal

from ironbench import bundle as bundles
from ironbench.effects import make_effects
from ironbench.errors import IronbenchError
from ironbench.ingest import merge_distributions
from ironbench.metrics import METRICS
from ironbench.plan import describe_side, in_words, run_seconds
from ironbench.records import Record
from ironbench.scorecard import why_excluded
from ironbench.stats import (
    ALPHA,
    MIN_BLOCKS,
    POWER,
    blocks_for_effect,
    blocks_for_family,
    smallest_effect,
    spread,
)
from ironbench.verdict import family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ironbench.metrics import Metric
    from ironbench.records import Claim, Effect, Latency, Plan, PlannedRun, Run

MIN_NOISE_BLOCKS = 4
"""Of fewer blocks a standard deviation says little: with four its own error is already 40 %."""

UNKNOWN_NOISE = (0.01, 0.02, 0.05, 0.10)
"""Standard deviations to reckon with where nothing was measured yet."""

HEADLINE = "app_cpu_ms"
"""Forecast for each experiment; other metrics where a claim rests on them."""


class HostNoise(Record, frozen=True, kw_only=True):
    """What blocks of one experiment differ by in one metric without an effect, as it was measured."""

    sd: float
    """Standard deviation of a block's log-ratio: 0.02 is about 2 %."""
    blocks: int
    of: Literal["A/A", "variants"]
    bundle: str
    hosts: list[str]
    window_s: float
    packed: bool


class Sight(Record, frozen=True, kw_only=True):
    """Which effect a number of blocks sees with a power of 80 %, at one standard deviation and level."""

    sd: float
    comparisons: int
    """That Holm's correction is for; 1: no correction."""
    smallest: float | None
    """Smallest effect that the plan's blocks see, as a factor beyond 1; None: they can decide nothing."""
    blocks: int | None
    """That see the wanted effect; None: not even 50."""
    seconds: float | None
    """That so many blocks of this experiment take."""


class Expected(Record, frozen=True, kw_only=True):
    """What a plan can see in one metric of one experiment."""

    experiment: str
    metric: str
    noise: HostNoise | None
    """None: nothing was measured yet."""
    no_verdict: str = ""
    """Why there will be no verdict whatever is seen; else empty."""
    sights: list[Sight]
    """One at the measured noise and, if claims rest on the metric, one after Holm's correction; where the noise is
    unknown the same for each standard deviation of UNKNOWN_NOISE."""


class Forecast(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench plan --show``."""

    study: str
    protocol: str
    seed: int
    blocks: int
    a_a: bool
    warmup_s: float
    window_s: float
    runs: list[PlannedRun]
    """In the order of measurement."""
    run_s: float
    expected_s: float
    """Without repetitions."""
    effect: float
    """That the numbers of blocks are for, as a factor beyond 1."""
    power: float
    expected: list[Expected]
    comparisons: int
    """That claims rest on and Holm's correction runs over."""
    blocks_for_claims: int
    """Fewest blocks with which any of them can be decided."""
    skipped: list[str]
    """Bundles whose noise could not be used, each with the reason."""


# --- the forecast ------------------------------------------------------------------------------


def make_forecast(
    plan: Plan,
    claims: Sequence[Claim],
    noise: dict[str, dict[str, HostNoise]],
    *,
    effect: float,
    skipped: Sequence[str] = (),
) -> Forecast:
    """Say what a plan that is not begun will take and can see; ``noise`` is by experiment and metric."""
    packed = {name for name, known in noise.items() if any(one.packed for one in known.values())}
    corrected = family(claims, plan, packed)
    asked = {(one.experiment, one.metric) for one in family(claims, plan)}
    run_s = run_seconds(plan, [])
    return Forecast(
        study=plan.study,
        protocol=plan.protocol,
        seed=plan.seed,
        blocks=_blocks(plan),
        a_a=_a_a(plan),
        warmup_s=plan.warmup_s,
        window_s=plan.window_s,
        runs=plan.runs,
        run_s=run_s,
        expected_s=run_s * len(plan.runs),
        effect=effect,
        power=POWER,
        expected=[
            _expected(
                plan,
                name,
                metric,
                noise.get(name, {}).get(metric.name),
                effect=effect,
                comparisons=len(corrected) if is_asked else 0,
            )
            for name in plan.experiments
            for metric in METRICS.values()
            for is_asked in [(name, metric.name) in asked]
            if is_asked or metric.name == HEADLINE
        ],
        comparisons=len(corrected),
        blocks_for_claims=blocks_for_family(len(corrected)),
        skipped=list(skipped),
    )


def _expected(  # noqa: PLR0913 - an expectation has this many parts
    plan: Plan, name: str, metric: Metric, known: HostNoise | None, *, effect: float, comparisons: int
) -> Expected:
    no_verdict = ""
    if known is not None and known.packed and (metric.latency or metric.whole_cpus):
        no_verdict, comparisons = "no verdict on a packed layout", 0
    block_s = run_seconds(plan, []) * sum((run.experiment, run.block) == (name, 1) for run in plan.runs)
    sights = []
    for sd in UNKNOWN_NOISE if known is None else (known.sd,):
        for family_size in dict.fromkeys((1, max(1, comparisons))):
            alpha = ALPHA / family_size
            needed = blocks_for_effect(effect, sd, alpha, a_a=_a_a(plan))
            sights.append(
                Sight(
                    sd=sd,
                    comparisons=family_size,
                    smallest=smallest_effect(_blocks(plan), sd, alpha, a_a=_a_a(plan)),
                    blocks=needed,
                    seconds=None if needed is None else needed * block_s,
                )
            )
    return Expected(experiment=name, metric=metric.name, noise=known, no_verdict=no_verdict, sights=sights)


def _blocks(plan: Plan) -> int:
    return max(run.block for run in plan.runs)


def _a_a(plan: Plan) -> bool:
    return any(run.again for run in plan.runs)


# --- the noise of a bundle ---------------------------------------------------------------------


def find_noise(results: Path, plan: Plan) -> tuple[dict[str, dict[str, HostNoise]], list[str]]:
    """Return the noise of the newest bundle that has it, for each experiment; and which could not be read.

    A bundle counts for an experiment that was asked alike and of which at least MIN_NOISE_BLOCKS blocks count.
    """
    found: dict[str, dict[str, HostNoise]] = {}
    skipped = []
    dated = []
    for path in sorted(results.glob("[!.]*/plan.json")):
        try:
            dated.append((bundles.read_manifest(path.parent).created, path.parent))
        except IronbenchError as error:
            skipped.append(str(error))
    for _, bundle in sorted(dated, reverse=True):
        if found.keys() >= plan.experiments.keys():
            break
        try:
            measured = read_noise(bundle, plan)
        except IronbenchError as error:
            skipped.append(str(error))
            continue
        for name, noise in measured.items():
            if name not in found and max(one.blocks for one in noise.values()) >= MIN_NOISE_BLOCKS:
                found[name] = noise
    return found, skipped


def read_noise(bundle: Path, plan: Plan) -> dict[str, dict[str, HostNoise]]:
    """Return a bundle's noise by experiment and metric, of the plan's experiments that it asked alike.

    Raises IronbenchError when the directory is no bundle that this ironbench reads.
    """
    contents = bundles.read_contents(bundle)
    names = [
        name
        for name, experiment in plan.experiments.items()
        if (other := contents.plan.experiments.get(name)) is not None
        and (other.request, other.load, other.background, other.cells)
        == (experiment.request, experiment.load, experiment.background, experiment.cells)
    ]
    excluded = why_excluded(contents.plan, contents.runs)
    counted = [run for run in contents.runs if run.run.key not in excluded and run.run.experiment in names]

    def latency(several: Sequence[Run]) -> Latency:
        distributions, _ = bundles.read_distributions(bundle, several)
        return merge_distributions(list(distributions.values()))

    twins, effects = make_effects(contents.plan, counted, [], latency=latency)
    hosts = sorted({host for run in counted for host in run.layout})
    found: dict[str, dict[str, HostNoise]] = {}
    for name in names:
        for metric in METRICS:
            pairs = [effect for effect in effects if _is(effect, name, metric)]
            same = [noise.effect for noise in twins if _is(noise.effect, name, metric)]
            sd, blocks, of = _scatter(same, _blocks(plan)), _most(same), "A/A"
            if sd is None:
                sd, blocks, of = _scatter(pairs, _blocks(plan)), _most(pairs), "variants"
            if sd is not None:
                found.setdefault(name, {})[metric] = HostNoise(
                    sd=sd,
                    blocks=blocks,
                    of=of,
                    bundle=contents.manifest.id,
                    hosts=hosts,
                    window_s=contents.plan.window_s,
                    packed=any(effect.packed for effect in (*same, *pairs)),
                )
    return found


def _is(effect: Effect, experiment: str, metric: str) -> bool:
    return (effect.comparison.experiment, effect.comparison.metric) == (experiment, metric)


def _most(effects: Iterable[Effect]) -> int:
    return max((effect.blocks for effect in effects), default=0)


def _scatter(effects: Iterable[Effect], blocks: int) -> float | None:
    """Return the root mean square of the comparisons' standard deviations; None without one of two blocks.

    Where they are enough for it, the one that a plan of so many blocks would see as much in.
    """
    found = []
    for effect in effects:
        logs = [math.log(factor) for factor in effect.per_block.values()]
        if len(logs) >= MIN_BLOCKS:
            found.append(spread(logs, max(blocks, MIN_BLOCKS)))
        elif len(logs) > 1:
            found.append(statistics.stdev(logs))
    known = [sd for sd in found if sd is not None]
    return math.sqrt(statistics.fmean(sd**2 for sd in known)) if known else None


# --- in words ----------------------------------------------------------------------------------


def render(forecast: Forecast) -> str:
    """Put a forecast into lines for a terminal."""
    return "\n".join(_lines(forecast))


def _lines(forecast: Forecast) -> Iterator[str]:
    yield (
        f"{forecast.study}, protocol {forecast.protocol}: {_count(forecast.blocks, 'block')}, {forecast.warmup_s:g} s "
        f"warm-up, {forecast.window_s:g} s window, seed {forecast.seed}"
    )
    yield (
        f"{_count(len(forecast.runs), 'run')} of about {forecast.run_s:.0f} s: {in_words(forecast.expected_s)}, and more "
        "if blocks must be repeated"
    )
    yield ""
    yield "Order"
    block = experiment = None
    line = ""
    for run in forecast.runs:
        if (run.block, run.experiment) == (block, experiment):
            line += f", {describe_side(run)}"
            continue
        if line:
            yield line
        number = f"block {run.block}" if run.block != block else ""
        line = f"  {number:<10}{run.experiment}: {describe_side(run)}"
        block, experiment = run.block, run.experiment
    yield line
    yield ""
    yield f"What it can see with {100 * forecast.power:.0f} % power"
    yield from _noise_lines(forecast)
    for one in forecast.expected:
        if one.noise is not None:
            yield f"  {one.experiment}, {_title(one.metric)}: {_seen(forecast, one)}"
    unknown = [one for one in forecast.expected if one.noise is None]
    if unknown:
        yield from _table(forecast, unknown)
    yield from _claims_lines(forecast)
    yield from (f"Not used for its noise: {reason}" for reason in forecast.skipped)


def _noise_lines(forecast: Forecast) -> Iterator[str]:
    known: dict[tuple[str, float], list[str]] = {}
    hosts = {}
    for one in forecast.expected:
        if one.noise is not None:
            known.setdefault((one.noise.bundle, one.noise.window_s), []).append(one.experiment)
            hosts[one.noise.bundle] = ", ".join(one.noise.hosts)
    for (bundle, window_s), names in known.items():
        windows = "" if window_s == forecast.window_s else f" with {window_s:g} s windows"
        yield (
            f"  The noise of {', '.join(dict.fromkeys(names))} is that of {bundle}, measured on "
            f"{hosts[bundle]}{windows}."
        )


def _seen(forecast: Forecast, one: Expected) -> str:
    assert one.noise is not None
    parts = []
    for sight in one.sights:
        after = f"after Holm's correction over {sight.comparisons}, " if sight.comparisons > 1 else ""
        parts.append(f"{after}{_needed(forecast, sight)}; {_smallest(forecast, sight)}")
    measured = f"sd {100 * one.noise.sd:.1f} % of {one.noise.of} over {_count(one.noise.blocks, 'block')}"
    if one.no_verdict:
        parts.append(one.no_verdict)
    return f"{'; '.join(parts)} ({measured})"


def _needed(forecast: Forecast, sight: Sight) -> str:
    effect = f"{100 * forecast.effect:g} %"
    if sight.blocks is None or sight.seconds is None:
        return f"not even 50 blocks see {effect}"
    return f"{sight.blocks} blocks ({in_words(sight.seconds)}) see {effect}"


def _smallest(forecast: Forecast, sight: Sight) -> str:
    if sight.smallest is None:
        return f"this plan's {forecast.blocks} can decide nothing"
    return f"this plan's {forecast.blocks} see {100 * sight.smallest:.1f} %"


def _table(forecast: Forecast, unknown: Sequence[Expected]) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(one.experiment for one in unknown))
    yield f"  The noise of {names} is unknown: no bundle has {MIN_NOISE_BLOCKS} blocks of it that count. If blocks differ by"
    for sight in unknown[0].sights:
        if sight.comparisons == 1:
            yield f"    {100 * sight.sd:>2.0f} % (sd): {_needed(forecast, sight)}; {_smallest(forecast, sight)}"


def _claims_lines(forecast: Forecast) -> Iterator[str]:
    if not forecast.comparisons:
        return
    yield ""
    compared = _count(forecast.comparisons, "comparison")
    if forecast.blocks < forecast.blocks_for_claims:
        yield (
            f"Claims rest on {compared}, and Holm's correction runs over all of them: {forecast.blocks} blocks can "
            f"decide none. Measure {forecast.blocks_for_claims} blocks, or fewer experiments."
        )
    else:
        yield (
            f"Claims rest on {compared}, and Holm's correction runs over all of them: it needs "
            f"{forecast.blocks_for_claims} blocks, and this plan has {forecast.blocks}."
        )


def _title(metric: str) -> str:
    made = METRICS[metric]
    service = made.title.removeprefix("CPU per request: ")
    return made.title if service == made.title else f"{service} {made.unit} per request"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
