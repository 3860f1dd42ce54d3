"""Which recording comes when, and what the hosts need to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import msgspec

from ironbench.errors import IronbenchError
from ironbench.plan import DRAIN_S, IDLE_S, TIMEOUT_S, expected_seconds, shuffled
from ironbench.records import (
    SCHEMA,
    Experiment,
    FlamePlan,
    PlannedRun,
    Recording,
    Session,
    SpyMode,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ironbench.records import Study

WARMUP_S = 3.0
LEAD_S = 3.0
"""From when the window should have begun until the first mode: a generator may start late on a busy host."""
START_S: dict[SpyMode, float] = {"none": 0.5, "published": 1.5, "idle": 1.5, "native": 4.0}
"""Until py-spy takes samples, and from the last one until it has written them; it reads the symbols first, for native
code those of every library."""


def make_flame_plan(  # noqa: PLR0913 - a plan has this many independent inputs
    study: Study,
    plan_id: str,
    *,
    seed: int,
    graphs: Sequence[str],
    variants: Sequence[str],
    recordings: int | None = None,
    seconds: int | None = None,
) -> FlamePlan:
    """Plan the chosen graphs in randomised, interleaved blocks: each has one recording of every graph and variant.

    Raises IronbenchError for names that the study does not have.
    """
    spec = study.flame_graphs
    if spec is None:
        raise IronbenchError(f"study {study.name} has no flame_graphs; add them to its experiments.yml.")
    unknown = [name for name in graphs if name not in spec.graphs]
    if unknown:
        raise IronbenchError(
            f"study {study.name} has no flame graph {unknown[0]!r}; it has {', '.join(spec.graphs)}."
        )
    known = dict.fromkeys(variant for graph in spec.graphs.values() for variant in graph.variants)
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise IronbenchError(
            f"no flame graph of study {study.name} has the variant {unknown[0]!r}; there are {', '.join(known)}."
        )
    chosen = {}
    for name, graph in spec.graphs.items():
        kept = [variant for variant in graph.variants if not variants or variant in variants]
        if kept and (not graphs or name in graphs):
            chosen[name] = msgspec.structs.replace(graph, variants=kept)
    if not chosen:
        raise IronbenchError("none of the chosen flame graphs has one of the chosen variants; choose others.")
    spec = msgspec.structs.replace(
        spec,
        graphs=chosen,
        recordings=spec.recordings if recordings is None else recordings,
        seconds=spec.seconds if seconds is None else seconds,
    )
    runs: list[PlannedRun] = []
    for block in range(1, spec.recordings + 1):
        sides = {
            f"{name}/{variant}": (name, variant)
            for name, graph in chosen.items()
            for variant in graph.variants
        }
        for side in shuffled(seed, f"flamegraph/{block}", sides):
            name, variant = sides[side]
            runs.append(PlannedRun(position=len(runs) + 1, experiment=name, block=block, variant=variant))
    return FlamePlan(
        schema=SCHEMA,
        id=plan_id,
        seed=seed,
        spec=spec,
        experiments={name: _experiment(study, name) for name in chosen},
        runs=runs,
    )


def next_recording(plan: FlamePlan, sealed: Collection[str]) -> PlannedRun | None:
    """Return the first recording whose key is not among the sealed ones."""
    return next((run for run in plan.runs if run.key not in sealed), None)


def make_recording(plan: FlamePlan, run: PlannedRun) -> Session:
    """Everything that the hosts need for one recording; its modes come in random order."""
    modes: list[SpyMode] = list(get_args(SpyMode))
    window_s = LEAD_S + sum(plan.spec.seconds + START_S[mode] for mode in modes)
    return Session(
        schema=SCHEMA,
        plan=plan.id,
        run=run,
        experiment=plan.experiments[run.experiment],
        seed=plan.seed,
        warmup_s=WARMUP_S,
        idle_s=IDLE_S,
        window_s=window_s,
        timeout_s=TIMEOUT_S,
        drain_s=DRAIN_S,
        expected_s=expected_seconds(WARMUP_S, window_s),
        recording=Recording(
            hz=plan.spec.graphs[run.experiment].hz,
            seconds=plan.spec.seconds,
            modes=shuffled(plan.seed, f"flamegraph/{run.key}", modes),
        ),
    )


def _experiment(study: Study, name: str) -> Experiment:
    """Return what a graph's generator does."""
    assert study.flame_graphs is not None
    graph = study.flame_graphs.graphs[name]
    if graph.request is not None:
        return Experiment(
            title=f"{graph.request.method} {graph.request.path}",
            request=graph.request,
            load=graph.load,
            variants=graph.variants,
            users=graph.users,
        )
    return msgspec.structs.replace(
        study.experiments[graph.experiment], load=graph.load, variants=graph.variants, background=None
    )
