"""The plan: which run comes when, what is due after a fault, and how long it will take.

Everything is derived from the plan, the sealed runs and the lost sessions; there is no other state.
"""

from __future__ import annotations

import hashlib
import statistics
from itertools import permutations
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ironbench.cells import as_side
from ironbench.records import QUIET_AFTER_S, SCHEMA, Pending, Plan, PlannedRun, Run, Session, Study, side_name
from ironbench.stats import ALPHA, binomial_p
from ironbench.study import first_variant, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.records import Experiment, Lost

_Name = TypeVar("_Name", bound=str)

IDLE_S = 1.5
"""Quiet time before the window, for the services' idle CPU rate, 2 s in the mean since the window starts with a
second: it always holds one whole second of sar's samples, and is short enough that caches and connections of the
warm-up stay as they are."""
TIMEOUT_S = 10.0
"""Of one request. Ten times the slowest mean of the article (1.1 s), so a busy host still answers."""
DRAIN_S = 10.0
"""For requests in flight at the window's end: as long as the youngest of them may take."""
ALIGN_S = 1.05
"""The window starts 50 ms after a whole second: a wait of at most this."""
CONNECT_S = 0.7
"""For start-up of the generator, connecting, and the gate."""
OVERHEAD_S = 3.0 + QUIET_AFTER_S
"""Preparation, the quiet before the gate is asked again, collection and sealing of one session, as on two CPUs of
2026, until sealed runs tell better."""


def make_plan(  # noqa: PLR0913 - a plan has this many independent inputs
    study: Study,
    protocol: str,
    *,
    plan_id: str,
    seed: int,
    retries: int,
    experiments: list[str],
    variants: list[str],
    seed_given: bool = False,
) -> Plan:
    """Plan the chosen experiments in randomised, interleaved blocks.

    A round holds one block of every experiment in random order, a block one run of each of its sides in
    random order: its variants, and where the protocol has an A/A, once more the one that the others are
    compared with. The order is that of seeded digests, so that it is the same on every version of Python.
    Raises IronbenchError for names that the study does not have.
    """
    rules, chosen = select(study, protocol, experiments, variants)
    sides = {name: _sides(experiment, study.baseline, a_a=rules.a_a) for name, experiment in chosen.items()}
    runs: list[PlannedRun] = []
    for block in range(1, rules.blocks + 1):
        for name in shuffled(seed, f"{block}", chosen):
            for side in shuffled(seed, f"{block}/{name}", sides[name]):
                variant, again = sides[name][side]
                runs.append(
                    PlannedRun(
                        position=len(runs) + 1, experiment=name, block=block, variant=variant, again=again
                    )
                )
    return Plan(
        schema=SCHEMA,
        id=plan_id,
        study=study.name,
        protocol=protocol,
        seed=seed,
        baseline=study.baseline,
        experiments=chosen,
        warmup_s=rules.warmup_s,
        window_s=rules.window_s,
        retries=retries,
        runs=runs,
        seed_given=seed_given,
    )


def without_runs(study: Study, plan_id: str, *, protocol: str, seed: int) -> Plan:
    """Return the plan of a bundle whose content is no run: recordings, query plans."""
    return Plan(
        schema=SCHEMA,
        id=plan_id,
        study=study.name,
        protocol=protocol,
        seed=seed,
        baseline=study.baseline,
        experiments={},
        warmup_s=0,
        window_s=0,
        retries=0,
        runs=[],
    )


def same_question(one: Plan, other: Plan) -> bool:
    """Whether two plans ask the same thing, whatever their order, seed, retries and id."""

    def asked(plan: Plan) -> Plan:
        runs = sorted(
            (msgspec.structs.replace(run, position=0) for run in plan.runs), key=lambda run: run.key
        )
        return msgspec.structs.replace(plan, id="", seed=0, seed_given=False, retries=0, runs=runs)

    return asked(one) == asked(other)


def order_bias(plan: Plan) -> dict[tuple[str, str, str], str]:
    """Say where a given seed puts one side of a pair before the other too often for chance.

    By experiment, side and other side, both ways round; empty for a drawn seed, of which chance is all that there is.
    The test is the exact two-sided binomial one over the blocks: drift over the time of a block would favour the side
    that always comes first, or last.
    """
    if not plan.seed_given:
        return {}
    first: dict[tuple[str, str], dict[int, int]] = {}
    for run in plan.runs:
        first.setdefault((run.experiment, run.side), {}).setdefault(run.block, run.position)
    found = {}
    for (experiment, side), (other_experiment, other) in permutations(first, 2):
        if experiment != other_experiment:
            continue
        here, there = first[experiment, side], first[experiment, other]
        blocks = here.keys() & there.keys()
        before = sum(here[block] < there[block] for block in blocks)
        if binomial_p(before, len(blocks)) < ALPHA:
            ahead, behind, times = (
                (side, other, before) if 2 * before > len(blocks) else (other, side, len(blocks) - before)
            )
            found[experiment, side, other] = (
                f"the seed {plan.seed} was given, and it puts {ahead} before {behind} in {times} of {len(blocks)} blocks "
                f"of {experiment}"
            )
    return found


def schedule(plan: Plan, sealed: Sequence[Run]) -> list[PlannedRun]:
    """Return the plan's runs followed by the repetitions that are due.

    A block with an instrument fault is repeated whole, in a fresh random order, at most
    ``plan.retries`` times. Blocks run one after the other, so repetitions are only ever appended.
    """
    faulty = {_block(run.run) for run in sealed if run.instrument_faults}
    runs = list(plan.runs)
    blocks: dict[tuple[str, int, int], dict[str, PlannedRun]] = {}
    for run in runs:
        blocks.setdefault(_block(run), {})[run.side] = run
    order = list(blocks)
    for experiment, block, attempt in order:  # grows while it is walked
        if (experiment, block, attempt) not in faulty or attempt > plan.retries:
            continue
        order.append((experiment, block, attempt + 1))
        sides = blocks[experiment, block, 1]
        for side in shuffled(plan.seed, f"{block}/{experiment}/{attempt + 1}", sides):
            again = msgspec.structs.replace(sides[side], position=len(runs) + 1, attempt=attempt + 1)
            runs.append(again)
    return runs


def next_run(plan: Plan, sealed: Sequence[Run]) -> PlannedRun | None:
    """Return the first run that is not sealed; None when the plan is done."""
    done = {run.run.key for run in sealed}
    return next((run for run in schedule(plan, sealed) if run.key not in done), None)


def make_session(plan: Plan, run: PlannedRun) -> Session:
    """Everything that the hosts need for one run.

    The runs of one block share their seed, so that random arrivals are the same for all variants.
    """
    experiment = as_side(plan.experiments[run.experiment], run.variant)
    return Session(
        schema=SCHEMA,
        plan=plan.id,
        run=run,
        experiment=experiment,
        seed=int.from_bytes(_digest(plan.seed, f"arrivals/{run.experiment}/{run.block}")[:4], "big"),
        warmup_s=plan.warmup_s,
        idle_s=IDLE_S,
        window_s=plan.window_s,
        timeout_s=TIMEOUT_S,
        drain_s=DRAIN_S,
        expected_s=_expected_s(plan, experiment),
    )


def ended(plan: Plan, lost: Sequence[Lost]) -> str:
    """Say in half a sentence why the plan has ended for good; empty while it may go on.

    A session may be lost as often as its block may be repeated. Once more, and the plan stays without its run: to try
    until one is sealed would be to choose the runs that count.
    """
    over = [one for one in lost if one.number > plan.retries]
    if not over:
        return ""
    last = max(over, key=lambda one: (one.lost_ns, one.number))
    times = "once" if last.number == 1 else f"{last.number} times, the last time"
    why = "; ".join(f"{fault.host}: {fault.detail}" for fault in last.instrument_faults)
    return (
        f"the plan ended for good in block {last.run.block} of {last.run.experiment}: the session {last.run.key} "
        f"was lost {times} because of {why.rstrip('.') or 'an unknown reason'}"
    )


def pending(plan: Plan, sealed: Sequence[Run], lost: Sequence[Lost]) -> Pending:
    """Tell what comes next, and how far the plan is."""
    whole = schedule(plan, sealed)
    total = len(whole)
    done = {run.run.key for run in sealed}
    left = [run for run in whole if run.key not in done]
    if why := ended(plan, lost):
        return Pending(done=False, session=None, progress=why, sealed=len(sealed), total=total, ended=why)
    if not left:
        return Pending(
            done=True,
            session=None,
            progress=f"all {total} runs are sealed",
            sealed=len(sealed),
            total=total,
        )
    run, after = left[0], left[1] if len(left) > 1 else None
    return Pending(
        done=False,
        session=make_session(plan, run),
        after=None if after is None else make_session(plan, after),
        progress=f"run {run.position} of {total}: {describe(run)}; {time_left(plan, sealed)}",
        sealed=len(sealed),
        total=total,
    )


def describe(run: PlannedRun) -> str:
    """Name a run for people, as ``signin, block 2, final`` or ``signin, block 2, baseline again``."""
    repetition = f", repetition {run.attempt - 1}" if run.attempt > 1 else ""
    return f"{run.experiment}, block {run.block}, {describe_side(run)}{repetition}"


def describe_side(run: PlannedRun) -> str:
    """Name for people what a run stands for in its block."""
    return f"{run.variant} again" if run.again else run.variant


def run_seconds(plan: Plan, sealed: Sequence[Run]) -> float:
    """Seconds that one run takes from seal to seal: the median of the sealed ones, else expected.

    The median, because a plan that was left alone overnight has one long gap.
    """
    if not sealed:
        expected = (_expected_s(plan, plan.experiments[run.experiment]) for run in plan.runs)
        return OVERHEAD_S + statistics.fmean(expected)
    ends = sorted(run.sealed_ns for run in sealed)
    first = min(sealed, key=lambda run: run.sealed_ns).started_ns
    starts = [first, *ends[:-1]]
    return statistics.median((end - start) / 1e9 for start, end in zip(starts, ends, strict=True))


def time_left(plan: Plan, sealed: Sequence[Run]) -> str:
    """Estimate the remaining time in words."""
    return f"about {in_words(run_seconds(plan, sealed) * (len(schedule(plan, sealed)) - len(sealed)))} left"


def in_words(seconds: float) -> str:
    """Round a duration for people, as ``40 s``, ``41 min`` or ``2 h 05 min``."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def window_share(plan: Plan, sealed: Sequence[Run]) -> float | None:
    """Return the part of the wall time that was inside load windows.

    The wall time is from the first run's start to the last one's sealing, with whatever rest the plan had
    when it was interrupted. None where the times are not known, as in imported bundles.
    """
    if not sealed or not all(run.started_ns for run in sealed):
        return None
    wall_ns = max(run.sealed_ns for run in sealed) - min(run.started_ns for run in sealed)
    return len(sealed) * plan.window_s * 1e9 / wall_ns if wall_ns > 0 else None


def _expected_s(plan: Plan, experiment: Experiment) -> float:
    search = experiment.search
    steps_s = search.steps * (CONNECT_S + search.warmup_s + ALIGN_S + search.step_s) if search else 0.0
    return steps_s + expected_seconds(plan.warmup_s, plan.window_s)


def expected_seconds(warmup_s: float, window_s: float) -> float:
    """Return what the generator takes from its start to the end of its window, when nothing is wrong."""
    return CONNECT_S + warmup_s + IDLE_S + ALIGN_S + window_s


def _block(run: PlannedRun) -> tuple[str, int, int]:
    return run.experiment, run.block, run.attempt


def _digest(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}/{text}".encode()).digest()


def shuffled(seed: int, label: str, names: Iterable[_Name]) -> list[_Name]:
    """Return the names in an order that seed and label decide, the same on every version of Python."""
    return sorted(names, key=lambda name: _digest(seed, f"{label}/{name}"))


def _sides(experiment: Experiment, baseline: str, *, a_a: bool) -> dict[str, tuple[str, bool]]:
    """Return variant and whether it is the second session, by what the session stands for."""
    sides = [(variant, False) for variant in experiment.variants]
    if a_a:
        sides.append((first_variant(experiment, baseline), True))
    return {side_name(variant, again=again): (variant, again) for variant, again in sides}
