"""The plan: which run comes when, what is due after a fault, and how long it will take.

Everything is derived from the plan and the sealed runs; there is no other state.
"""

from __future__ import annotations

import hashlib
import statistics
from typing import TYPE_CHECKING

import msgspec

from ironbench.records import SCHEMA, Experiment, Pending, Plan, PlannedRun, Run, Session, Study
from ironbench.study import select

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE_S = 2.0
"""Quiet time before the window, for the services' idle CPU rate: it always holds one whole second of
sar's samples, and is short enough that caches and connections of the warm-up stay as they are."""
TIMEOUT_S = 10.0
"""Of one request. Ten times the slowest mean of the article (1.1 s), so a busy host still answers."""
DRAIN_S = 10.0
"""For requests in flight at the window's end: as long as the youngest of them may take."""
ALIGN_S = 1.05
"""The window starts 50 ms after a whole second: a wait of at most this."""
CONNECT_S = 0.7
"""For start-up of the generator, connecting, and the gate."""
OVERHEAD_S = 10.0
"""Preparation, collection and sealing of one session, until sealed runs tell better."""


def make_plan(  # noqa: PLR0913 - a plan has this many independent inputs
    study: Study,
    protocol: str,
    *,
    plan_id: str,
    seed: int,
    retries: int,
    experiments: list[str],
    variants: list[str],
) -> Plan:
    """Plan the chosen experiments in randomised, interleaved blocks.

    A round holds one block of every experiment in random order, a block one run of each of its
    variants in random order. The order is that of seeded digests, so that it is the same on every
    version of Python. Raises IronbenchError for names that the study does not have.
    """
    rules, chosen = select(study, protocol, experiments, variants)
    runs: list[PlannedRun] = []
    for block in range(1, rules.blocks + 1):
        for name in _shuffled(seed, f"{block}", chosen):
            for variant in _shuffled(seed, f"{block}/{name}", chosen[name].variants):
                runs.append(PlannedRun(position=len(runs) + 1, experiment=name, block=block, variant=variant))
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
        verdicts=rules.verdicts,
        retries=retries,
        runs=runs,
    )


def same_question(one: Plan, other: Plan) -> bool:
    """Whether two plans ask the same thing, whatever their order, seed, retries and id."""

    def asked(plan: Plan) -> Plan:
        runs = sorted(
            (msgspec.structs.replace(run, position=0) for run in plan.runs), key=lambda run: run.key
        )
        return msgspec.structs.replace(plan, id="", seed=0, retries=0, runs=runs)

    return asked(one) == asked(other)


def schedule(plan: Plan, sealed: Sequence[Run]) -> list[PlannedRun]:
    """Return the plan's runs followed by the repetitions that are due.

    A block with an instrument fault is repeated whole, in a fresh random order, at most
    ``plan.retries`` times. Blocks run one after the other, so repetitions are only ever appended.
    """
    faulty = {_block(run.run) for run in sealed if run.instrument_faults}
    runs = list(plan.runs)
    blocks = list(dict.fromkeys(_block(run) for run in runs))
    for experiment, block, attempt in blocks:  # grows while it is walked
        if (experiment, block, attempt) not in faulty or attempt > plan.retries:
            continue
        blocks.append((experiment, block, attempt + 1))
        variants = plan.experiments[experiment].variants
        for variant in _shuffled(plan.seed, f"{block}/{experiment}/{attempt + 1}", variants):
            runs.append(
                PlannedRun(
                    position=len(runs) + 1,
                    experiment=experiment,
                    block=block,
                    variant=variant,
                    attempt=attempt + 1,
                )
            )
    return runs


def next_run(plan: Plan, sealed: Sequence[Run]) -> PlannedRun | None:
    """Return the first run that is not sealed; None when the plan is done."""
    done = {run.run.key for run in sealed}
    return next((run for run in schedule(plan, sealed) if run.key not in done), None)


def make_session(plan: Plan, run: PlannedRun) -> Session:
    """Everything that the hosts need for one run.

    The runs of one block share their seed, so that random arrivals are the same for all variants.
    """
    experiment = plan.experiments[run.experiment]
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
        expected_s=_expected_s(plan),
    )


def pending(plan: Plan, sealed: Sequence[Run]) -> Pending:
    """Tell what comes next, and how far the plan is."""
    total = len(schedule(plan, sealed))
    run = next_run(plan, sealed)
    if run is None:
        return Pending(
            done=True,
            session=None,
            progress=f"all {total} runs are sealed",
            sealed=len(sealed),
            total=total,
        )
    return Pending(
        done=False,
        session=make_session(plan, run),
        progress=f"run {run.position} of {total}: {describe(run)}; {time_left(plan, sealed)}",
        sealed=len(sealed),
        total=total,
    )


def describe(run: PlannedRun) -> str:
    """Name a run for people, as ``signin, block 2, final``."""
    repetition = f", repetition {run.attempt - 1}" if run.attempt > 1 else ""
    return f"{run.experiment}, block {run.block}, {run.variant}{repetition}"


def run_seconds(plan: Plan, sealed: Sequence[Run]) -> float:
    """Seconds that one run takes from seal to seal: the median of the sealed ones, else expected.

    The median, because a plan that was left alone overnight has one long gap.
    """
    if not sealed:
        return OVERHEAD_S + _expected_s(plan)
    ends = sorted(run.sealed_ns for run in sealed)
    first = min(sealed, key=lambda run: run.sealed_ns).started_ns
    starts = [first, *ends[:-1]]
    return statistics.median((end - start) / 1e9 for start, end in zip(starts, ends, strict=True))


def time_left(plan: Plan, sealed: Sequence[Run]) -> str:
    """Estimate the remaining time in words."""
    seconds = run_seconds(plan, sealed) * (len(schedule(plan, sealed)) - len(sealed))
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s left"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60:02d} min left"


def _expected_s(plan: Plan) -> float:
    return CONNECT_S + plan.warmup_s + IDLE_S + ALIGN_S + plan.window_s


def _block(run: PlannedRun) -> tuple[str, int, int]:
    return run.experiment, run.block, run.attempt


def _digest(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}/{text}".encode()).digest()


def _shuffled(seed: int, label: str, names: Sequence[str] | dict[str, Experiment]) -> list[str]:
    return sorted(names, key=lambda name: _digest(seed, f"{label}/{name}"))
