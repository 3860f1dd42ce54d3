# ruff: noqa: INP001, S311 - a script; its random numbers are no secrets
"""What the intervals, calls and corrections of ironbench say in worlds whose truth is known.

``make benchmark-statistics`` prints the table of docs/methodology.md; bench/tests/test_stats_truth.py asserts
it. A world disturbs the sessions of a plan, in the order in which the plan has them. The figures that come
out go through the same functions as those of a bundle.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from ironbench.effects import compare, make_noise
from ironbench.plan import make_plan
from ironbench.records import (
    SCHEMA,
    Claim,
    Comparison,
    Expectation,
    Experiment,
    Load,
    Plan,
    Protocol,
    Record,
    RequestTemplate,
    SideCounts,
    Study,
)
from ironbench.redone import UNSEEN_MOST, UNSEEN_SHARE, Redone
from ironbench.stats import MIN_MARGIN, blocks_for_effect, smallest_effect, spread
from ironbench.verdict import judge_claims
from ironbench.withheld import unfinished_plan, withhold
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import Effect, PlannedRun

    World = Callable[[random.Random, list[PlannedRun]], list[float]]
    """Returns the disturbance of each session, as a log-ratio."""

PLANS = 2000
PILOTS = 200
SESSION = 0.02
"""Standard deviation of one session's log figure in the calm world; a log-ratio has root 2 times that."""
TRUTH = 0.9
"""Factor between the two variants where the world has one."""
FIRST, OTHER = "baseline", "final"
FAMILY = 20
SMALL = 0.97
"""Factor of an effect that many hosts cannot see: where they cannot, they must not refute it either."""

# --- worlds ------------------------------------------------------------------------------------


def normal(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """Normal noise."""
    return [draw.gauss(0, SESSION) for _ in runs]


def heavy(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """Student's t with 2 degrees of freedom: its standard deviation is infinite."""
    return [SESSION * draw.gauss(0, 1) / math.sqrt(draw.expovariate(1)) for _ in runs]


def outliers(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """One session in ten is slower by a lognormal amount, 15 % in the median."""
    return [
        draw.gauss(0, SESSION) + (draw.lognormvariate(math.log(0.15), 0.7) if draw.random() < 0.1 else 0.0)
        for _ in runs
    ]


def drift(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """The host slows down by 20 % over the plan, and by 1 % from session to session within a block."""
    return [
        draw.gauss(0, SESSION) + 0.2 * index / len(runs) + _step(runs, index) for index in range(len(runs))
    ]


def _step(runs: list[PlannedRun], index: int) -> float:
    first = index
    while first and runs[first - 1].block == runs[index].block:
        first -= 1
    return 0.01 * (index - first)


def wander(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """Neighbours in time are alike: each session keeps nine tenths of the one before."""
    found, level = [], 0.0
    for _ in runs:
        level = 0.9 * level + draw.gauss(0, SESSION)
        found.append(level)
    return found


def modes(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """Two sessions in five land badly and are 15 % slower, as connections on workers do."""
    return [draw.gauss(0, SESSION / 2) + (0.15 if draw.random() < 0.4 else 0.0) for _ in runs]


def unlike_modes(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """As ``modes``, but the other variant pays 5 % where the first pays 15 %: there is no one factor."""
    return [
        draw.gauss(0, SESSION / 2)
        + ((0.15 if run.variant == FIRST else 0.05) if draw.random() < 0.4 else 0.0)
        for run in runs
    ]


def one_sided(draw: random.Random, runs: list[PlannedRun]) -> list[float]:
    """Three sessions in ten of the first variant, and none of the other, are slower by 15 % in the median."""
    return [
        draw.gauss(0, SESSION)
        + (draw.lognormvariate(math.log(0.15), 0.7) if run.variant == FIRST and draw.random() < 0.3 else 0.0)
        for run in runs
    ]


WORLDS: dict[str, World] = {
    "normal": normal,
    "heavy tails (t, 2 degrees)": heavy,
    "outliers (1 in 10)": outliers,
    "drift and order": drift,
    "wandering (0.9)": wander,
    "two modes": modes,
    "two modes, unlike": unlike_modes,
    "outliers of one variant": one_sided,
}
SHOPPING_WORLDS = ("normal", "heavy tails (t, 2 degrees)", "two modes")
SHOPPING_BLOCKS = (6, 10, 20)
UNLIKE = ("two modes, unlike", "outliers of one variant")
"""Here the two variants do not differ by one factor, so that no method has an exact interval: what is wanted
is the median of the blocks' ratios."""


COMPARISON = Comparison(experiment="me", metric="app_cpu_ms", variant=OTHER, against=FIRST)
SMALL_CLAIM = Claim(
    id="small", says="-", source="-", kind="direction", comparison=COMPARISON, expects="lower",
    published={FIRST: 100.0, OTHER: 100.0 * SMALL},
)  # fmt: skip


# --- plans -------------------------------------------------------------------------------------


@cache
def study(blocks: int) -> Study:
    """Return a study with one experiment of two variants and its A/A."""
    request = RequestTemplate(method="GET", path="/", expect=Expectation(status=200))
    load = Load(rate=1, connections=1, threads=1, arrivals="even")
    return Study(
        schema=SCHEMA, name="simulated", title="Simulated", source="none",
        protocols={"simulated": Protocol(blocks=blocks, warmup_s=1, window_s=1, a_a=True)},
        experiments={"me": Experiment(title="me", request=request, load=load, variants=[FIRST, OTHER])},
    )  # fmt: skip


@cache
def plans(blocks: int) -> list[Plan]:
    """Return the simulated plans of so many blocks: the order within each block is the product's own."""
    return [
        make_plan(
            study(blocks), "simulated", plan_id="simulated", seed=seed, retries=0, experiments=[], variants=[]
        )
        for seed in range(PLANS)
    ]


def figures(plan: Plan, world: World, draw: random.Random, factor: float) -> dict[str, dict[int, float]]:
    """Return each session's figure by side and block; ``factor`` is the other variant's over the first's."""
    found: dict[str, dict[int, float]] = {}
    for run, disturbance in zip(plan.runs, world(draw, plan.runs), strict=True):
        cost = factor if run.variant == OTHER else 1.0
        found.setdefault(run.side, {})[run.block] = 100 * cost * math.exp(disturbance)
    return found


def median_factor(world: World) -> float:
    """Return the median ratio within a block that a world has of itself, from 200,000 blocks."""
    if world not in [WORLDS[name] for name in UNLIKE]:
        return 1.0
    draw = random.Random("median")
    logs = []
    for plan in plans(10):
        for _ in range(10):
            made = figures(plan, world, draw, 1.0)
            logs += [math.log(made[OTHER][block] / made[FIRST][block]) for block in made[FIRST]]
    return math.exp(statistics.median(logs))


# --- what is measured --------------------------------------------------------------------------


class Measured(Record, frozen=True, kw_only=True):
    """Shares of the simulated plans."""

    coverage: float
    """Intervals that hold the truth."""
    false_a_a: float
    """A/A called lower or higher."""
    false_null: float
    """Two variants that cost the same called lower or higher."""
    refuted: float
    """Claims of an effect of 3 % that is there, published as it is, of which the verdict is "does not hold here"."""
    planned: float
    """The effect, as a factor beyond 1, that a plan is said to see if the noise is known from all A/A."""
    power: float
    """Plans that see an effect of that size."""
    power_from_pilot: float
    """The same, with the noise known from one other plan's A/A alone."""


def measure(name: str, blocks: int) -> Measured:
    """Simulate one world."""
    world = WORLDS[name]
    own = median_factor(world)
    draw = random.Random(f"{name}/{blocks}")
    comparison, twin = COMPARISON, replace(COMPARISON, variant=f"{FIRST}.again")
    covered = a_a = null = refuted = 0
    logs, made = [], []
    for plan in plans(blocks):
        found = figures(plan, world, draw, TRUTH / own)
        noise = make_noise(twin, found[twin.variant], found[FIRST])
        margin = max(noise.floor or 0.0, MIN_MARGIN)
        effect = compare(comparison, found[OTHER], found[FIRST], margin=margin)
        covered += _holds(effect, TRUTH)
        same = compare(comparison, _times(found[OTHER], 1 / TRUTH), found[FIRST], margin=margin)
        a_a += noise.effect.call in ("lower", "higher")
        null += same.call in ("lower", "higher")
        small = compare(comparison, _times(found[OTHER], SMALL / TRUTH), found[FIRST], margin=margin)
        _, (verdict,) = judge_claims([SMALL_CLAIM], [small], plan, None)
        refuted += verdict.word == "does not hold here"
        logs.append([math.log(ratio) for ratio in noise.effect.per_block.values()])
        made.append((found, margin))
    planned = _planned([one for plan in logs for one in plan], blocks)
    pilots = [_planned(log, blocks) for log in logs[-PILOTS:]]
    return Measured(
        coverage=covered / PLANS,
        false_a_a=a_a / PLANS,
        false_null=null / PLANS,
        refuted=refuted / PLANS,
        planned=planned,
        power=_seen(comparison, made, [planned] * len(made)),
        power_from_pilot=_seen(comparison, made[:PILOTS], pilots),
    )


def _planned(noise: list[float], blocks: int) -> float:
    """Return the effect that a plan is said to see in such noise."""
    sd = spread(noise, blocks)
    effect = None if sd is None else smallest_effect(blocks, sd)
    assert effect is not None  # 6 blocks and more always see something
    return effect


def _seen(
    comparison: Comparison, made: list[tuple[dict[str, dict[int, float]], float]], planned: list[float]
) -> float:
    seen = 0
    for (found, margin), effect in zip(made, planned, strict=True):
        other = _times(found[OTHER], 1 / TRUTH / (1 + effect))
        seen += compare(comparison, other, found[FIRST], margin=margin).call == "lower"
    return seen / len(made)


def _holds(effect: Effect, truth: float) -> bool:
    return effect.low is not None and effect.high is not None and effect.low <= truth <= effect.high


def _times(by_block: dict[int, float], factor: float) -> dict[int, float]:
    return {block: figure * factor for block, figure in by_block.items()}


def family_error(blocks: int = 10, scale: float = 5.0) -> tuple[float, float]:
    """Return the share of plans with any false verdict among 20 nulls, with Holm's correction and without.

    ``scale`` times the noise of the calm world, and no A/A, so that the margin hardly holds anything back.
    """
    metrics = ["app_cpu_ms", "postgresql_cpu_ms", "pgbouncer_cpu_ms", "valkey_cpu_ms", "database_cpu_ms"]
    names = [f"e{number}" for number in range(FAMILY // len(metrics))]
    comparisons = [
        Comparison(experiment=name, metric=metric, variant=OTHER, against=FIRST)
        for name in names
        for metric in metrics
    ]
    claims = [
        Claim(id=str(number), says="-", source="-", kind="direction", comparison=one, expects="lower")
        for number, one in enumerate(comparisons)
    ]
    one_plan = plans(blocks)[0]
    plan = replace(one_plan, experiments=dict.fromkeys(names, one_plan.experiments["me"]))
    draw = random.Random("family")
    corrected = raw = 0
    for _ in range(PLANS):
        effects = []
        for one in comparisons:
            sides = [
                {block: math.exp(scale * draw.gauss(0, SESSION)) for block in range(1, blocks + 1)}
                for _ in range(2)
            ]
            effects.append(compare(one, *sides, margin=MIN_MARGIN))
        effects, verdicts = judge_claims(claims, effects, plan, None)
        raw += any(effect.call in ("lower", "higher") for effect in effects)
        corrected += any(
            verdict.effect is not None
            and verdict.effect.call in ("lower", "higher")
            and verdict.word in ("holds here", "does not hold here")
            for verdict in verdicts
        )
    return corrected / PLANS, raw / PLANS


# --- stopping and repeating --------------------------------------------------------------------


class Shopped(Record, frozen=True, kw_only=True):
    """What is in a bundle when somebody has chosen its sessions."""

    counted: dict[str, dict[int, float]]
    """Figures that count, by side and block."""
    first: dict[str, dict[int, float]]
    """Figures of each block's first attempt, as far as it left any."""
    faulty: frozenset[tuple[int, str]] = frozenset()
    """Block and side of the sessions that had an instrument fault."""
    interrupted: int = 0
    """Of the other variant."""
    of_first: int = 0
    """Interrupted sessions of the first variant."""
    complete: bool = True


Again = Callable[[], float]
"""Draws another figure for a session."""
Shopper = Callable[["dict[str, dict[int, float]]", Again, int], Shopped]
"""Chooses, with full knowledge of all figures, to have the other variant called cheaper; the number is what is allowed."""


def nobody(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:  # noqa: ARG001 - a Shopper
    """Take what comes."""
    return Shopped(counted=found, first=found)


def stop(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:  # noqa: ARG001 - a Shopper
    """Look after every block from the sixth on, and stop when there is a call."""
    blocks = sorted(found[FIRST])
    for last in range(6, len(blocks)):
        seen = {side: {block: by[block] for block in blocks[:last]} for side, by in found.items()}
        if _called(seen) in ("lower", "higher"):
            return Shopped(counted=seen, first=seen, complete=False)
    return Shopped(counted=found, first=found)


def interrupt(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:
    """End each session that displeases before its seal, as often as is allowed, the first variant's too."""
    counted = {side: dict(by) for side, by in found.items()}
    ended = Counter()
    for block in sorted(found[FIRST]):
        for side, bad in ((OTHER, 1), (FIRST, -1)):
            while ended.total() < most and bad * math.log(counted[side][block] / 100) > 0:
                counted[side][block] = again()
                ended[side] += 1
    return Shopped(counted=counted, first=counted, interrupted=ended[OTHER], of_first=ended[FIRST])


def fault(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:  # noqa: ARG001 - a Shopper
    """Bring about an instrument fault in every second block that displeases, which is then measured again."""
    counted = {side: dict(by) for side, by in found.items()}
    bad = _displeasing(found)
    for block in bad:
        for by in counted.values():
            by[block] = again()
    return Shopped(counted=counted, first=found, faulty=_dealt(bad))


def leave_out(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:  # noqa: ARG001 - a Shopper
    """Bring about a fault in the repetition too, so that the blocks that displease most are left out."""
    bad = _displeasing(found)[: max(0, len(found[FIRST]) - 6)]
    counted = {side: {block: by[block] for block in by if block not in bad} for side, by in found.items()}
    return Shopped(counted=counted, first=found, faulty=_dealt(bad))


def blind(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:
    """Kill the observer in the sessions that displease most, so that they leave no figure, as often as is allowed."""
    bad = _displeasing(found)[:most]
    counted = {side: dict(by) for side, by in found.items()}
    for block in bad:
        for by in counted.values():
            by[block] = again()
    first = {side: {block: by[block] for block in by if block not in bad} for side, by in found.items()}
    return Shopped(counted=counted, first=first, faulty=_dealt(bad))


def everything(found: dict[str, dict[int, float]], again: Again, most: int) -> Shopped:
    """Interrupt as often as is allowed, and have a fault in every block that displeases still."""
    ended = interrupt(found, again, most)
    repeated = fault(ended.counted, again, most)
    return replace(repeated, first=ended.counted, interrupted=ended.interrupted, of_first=ended.of_first)


SHOPPERS: dict[str, Shopper] = {
    "nobody": nobody,
    "stop when it pleases": stop,
    "interrupt what displeases": interrupt,
    "repeat what displeases": fault,
    "leave out what displeases": leave_out,
    "no figure of what displeases": blind,
    "interrupt and repeat": everything,
}


def _displeasing(found: dict[str, dict[int, float]]) -> list[int]:
    """Return the blocks in which the other variant is not the cheaper one, the worst first."""
    ratios = {block: found[OTHER][block] / figure for block, figure in found[FIRST].items()}
    return sorted((block for block, ratio in ratios.items() if ratio > 1), key=lambda block: -ratios[block])


def _dealt(blocks: list[int]) -> frozenset[tuple[int, str]]:
    """Give the faults to the two sides in turn, so that neither has clearly more of them."""
    return frozenset((block, (OTHER, FIRST)[number % 2]) for number, block in enumerate(blocks))


def _called(found: dict[str, dict[int, float]]) -> str:
    twin = f"{FIRST}.again"
    noise = make_noise(replace(COMPARISON, variant=twin), found[twin], found[FIRST])
    return compare(COMPARISON, found[OTHER], found[FIRST], margin=max(noise.floor or 0.0, MIN_MARGIN)).call


def shopped(name: str, world: World, blocks: int, *, guarded: bool = True, number: int = PLANS) -> float:
    """Return the share of plans in which two equal variants are called different; not ``guarded``: by figures alone."""
    draw = random.Random(f"{name}/{blocks}")
    wrong = 0
    most = min(UNSEEN_MOST, math.floor(UNSEEN_SHARE * blocks)) if guarded else blocks
    for plan in plans(blocks)[:number]:
        found = figures(plan, world, draw, 1.0)
        again = partial(_again, draw, world, plan)
        what = SHOPPERS[name](found, again, most)
        wrong += (_guarded(plan, what) if guarded else _called(what.counted)) in ("lower", "higher")
    return wrong / number


def _again(draw: random.Random, world: World, plan: Plan) -> float:
    """Draw another figure from the same world."""
    return 100 * math.exp(world(draw, plan.runs[:1])[0])


def _guarded(plan: Plan, what: Shopped) -> str:
    """Return the call as the product makes it of such a bundle."""
    twin = f"{FIRST}.again"
    noise = make_noise(replace(COMPARISON, variant=twin), what.counted[twin], what.counted[FIRST])
    margin = max(noise.floor or 0.0, MIN_MARGIN)
    effect = compare(COMPARISON, what.counted[OTHER], what.counted[FIRST], margin=margin)
    first = compare(COMPARISON, what.first[OTHER], what.first[FIRST], margin=margin)
    counts = [
        SideCounts(
            experiment="me", variant=side, planned=len(what.first[side]), counted=len(what.counted[side]), left_out=0,
            faulty=sum(at == side for _, at in what.faulty), repeated=0, caused=0, lost=0, interrupted=ended,
        )
        for side, ended in ((FIRST, what.of_first), (OTHER, what.interrupted))
    ]  # fmt: skip
    faulty = {("me", block) for block, _ in what.faulty}
    redone = Redone(plan, faulty, counts, [noise], {COMPARISON: first} if faulty else None)
    whole = [] if what.complete else unfinished_plan(1, 2, "runs")
    return withhold([effect], [], whole, redone.reasons)[0].call


# --- the table ---------------------------------------------------------------------------------


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, nargs="+", default=[6, 8, 10, 12, 15, 20])
    args = parser.parse_args()
    started = time.monotonic()
    print(f"{PLANS} simulated plans each; standard error of 95 %: 0.5 points, of 80 %: 0.9 points\n")
    for line in _table(args.blocks):
        print(line, flush=True)
    with_holm, without = family_error()
    print(
        f"\n{FAMILY} comparisons without an effect, 10 blocks: any false verdict in {with_holm:.1%} of plans, "
        f"without Holm's correction in {without:.1%}"
    )
    print(
        "\nstopping and repeating: two equal variants called different, by figures alone and as a report calls them"
    )
    for line in _shopping_table([count for count in args.blocks if count in SHOPPING_BLOCKS]):
        print(line, flush=True)
    print("\nblocks to see an effect (rows) at a spread of the blocks' log-ratios (columns), 80 %, with A/A")
    columns = (0.01, 0.02, 0.03, 0.05, 0.08)
    print("| effect | " + " | ".join(f"{sd:.0%}" for sd in columns) + " |")
    for effect in (0.03, 0.05, 0.1, 0.2):
        found = [blocks_for_effect(effect, sd) for sd in columns]
        print(f"| {effect:.0%} | " + " | ".join("> 50" if n is None else str(n) for n in found) + " |")
    print(f"\n{time.monotonic() - started:.0f} s on Python {sys.version.split()[0]}")


def _table(blocks: list[int]) -> Iterator[str]:
    yield (
        "| noise | blocks | coverage | A/A called | null called | 3 % refuted | planned effect | power | "
        "power, from one A/A |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in WORLDS:
        for count in blocks:
            made = measure(name, count)
            shares = [
                made.coverage, made.false_a_a, made.false_null, made.refuted, made.planned, made.power,
                made.power_from_pilot,
            ]  # fmt: skip
            cells = [f"{100 * share:.1f} %" for share in shares]
            yield f"| {name} | {count} | {' | '.join(cells)} |"


def _shopping_table(blocks: list[int]) -> Iterator[str]:
    yield (
        "| who | blocks | "
        + " | ".join(f"{name}, figures | {name}, report" for name in SHOPPING_WORLDS)
        + " |"
    )
    yield "|---|---|" + "---|---|" * len(SHOPPING_WORLDS)
    for name in SHOPPERS:
        for count in blocks:
            shares = [
                shopped(name, WORLDS[world], count, guarded=guarded)
                for world in SHOPPING_WORLDS
                for guarded in (False, True)
            ]
            yield f"| {name} | {count} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |"


if __name__ == "__main__":
    main()
