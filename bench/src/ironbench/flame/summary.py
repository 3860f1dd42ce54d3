"""From recordings to shares, costs and verdicts: records and stacks in, records out."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, get_args

from ironbench.attempts import interruptions
from ironbench.flame.layout import layout
from ironbench.flame.plan import next_recording
from ironbench.flame.stacks import merge, share, working
from ironbench.records import FlameDrawing, FlameSummary, Share, SpyCost, SpyMode
from ironbench.stats import MIN_BLOCKS, estimate, ratio
from ironbench.withheld import together, unfinished_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ironbench.flame.stacks import Stack
    from ironbench.records import Attempt, Claim, FlamePlan, Recorded, Segment, VerdictWord

    Key = tuple[str, str, SpyMode]
    """Graph, variant, mode."""

    Seen = Mapping[Key, Sequence[Counter[Stack]]]
    """The stacks of each recording."""

MODES: tuple[SpyMode, ...] = tuple(mode for mode in get_args(SpyMode) if mode != "none")
MODE_TITLES: dict[SpyMode, str] = {
    "none": "without py-spy",
    "published": "as published",
    "idle": "with waiting threads",
    "native": "with native code",
}
IN_REPORT = 0.004
"""Of the drawing's width: some 300 frames, and 5 of its 1200 units."""
IN_FILE = 0.0005
NO_GRAPH = (
    "A function's share of the time is read off a flame graph, and this bundle has none; playbooks/flamegraph.yml "
    "makes them."
)
FEW_SAMPLES = 100
"""Below so many in all recordings together a share is not shown: one sample would be more than a point."""


def counted(plan: FlamePlan, mode: SpyMode, stacks: Counter[Stack]) -> Counter[Stack]:
    """Leave out what does not count in a mode: with all threads, those that wait for something to do."""
    return working(stacks, plan.spec.waiting) if mode == "idle" else stacks


def summarise(
    plan: FlamePlan, recordings: Sequence[Recorded], seen: Seen, attempts: Sequence[Attempt] = ()
) -> FlameSummary:
    """Compute shares, costs and what is drawn; ``seen`` holds what ``counted`` left."""
    sealed = {one.run.key for one in recordings}
    interrupted: Counter[str] = Counter()
    for run, number in interruptions(sealed, (), attempts, next_recording(plan, sealed)):
        interrupted[f"{run.experiment}, {run.variant}"] += number
    return FlameSummary(
        plan=plan,
        sealed=len(recordings),
        interrupted={name: number for name, number in sorted(interrupted.items()) if number},
        shares=list(_shares(plan, recordings, seen)),
        costs=list(_costs(plan, recordings)),
        drawings=drawings(plan, recordings, seen, IN_REPORT),
    )


def drawings(plan: FlamePlan, recordings: Sequence[Recorded], seen: Seen, least: float) -> list[FlameDrawing]:
    """Lay out every graph and every difference; frames narrower than ``least`` of the whole are left out."""
    merged = {key: merge(several) for key, several in seen.items()}
    made = [
        FlameDrawing(
            name=f"{graph}.{variant}.{mode}",
            graph=graph,
            title=f"{graph}, {variant}, {MODE_TITLES[mode]}",
            unit="samples",
            frames=layout(stacks, None, least),
        )
        for (graph, variant, mode), stacks in merged.items()
        if stacks
    ]
    for one in plan.spec.differences:
        before, after = (
            _ms(plan, recordings, merged.get((one.graph, variant, "published")), one.graph, variant)
            for variant in (one.before, one.after)
        )
        if before and after:
            made.append(
                FlameDrawing(
                    name=f"{one.graph}.{one.before}-to-{one.after}",
                    graph=one.graph,
                    title=f"{one.graph}, from {one.before} to {one.after}",
                    unit="ms per request",
                    frames=layout(before, after, least),
                )
            )
    return made


def _ms(
    plan: FlamePlan, recordings: Sequence[Recorded], stacks: Counter[Stack] | None, graph: str, variant: str
) -> dict[Stack, float]:
    """Give each stack the time in which py-spy saw it, per request: what a sample stands for, over the requests."""
    segments = [
        segment
        for one in recordings
        if (one.run.experiment, one.run.variant) == (graph, variant)
        for segment in one.segments
        if segment.mode == "published"
    ]
    requests = sum(segment.requests or 0 for segment in segments)
    if not stacks or not requests:
        return {}
    ms = 1000 / plan.spec.graphs[graph].hz / requests
    return {stack: count * ms for stack, count in stacks.items()}


def _withheld(plan: FlamePlan, recordings: Sequence[Recorded], graph: str, variant: str) -> list[str]:
    """Say why what was recorded of a graph and variant allows no verdict; empty when it does."""
    unfinished = unfinished_plan(len(recordings), len(plan.runs), "recordings")
    here = [one for one in recordings if (one.run.experiment, one.run.variant) == (graph, variant)]
    return [*unfinished, *together([one.conduct for one in here if one.conduct is not None])]


def _shares(plan: FlamePlan, recordings: Sequence[Recorded], seen: Seen) -> Iterator[Share]:
    for (graph, variant, mode), several in seen.items():
        samples = sum(merge(several).values())
        if samples < FEW_SAMPLES:
            continue
        for name, function in plan.spec.functions.items():
            found = [value for stacks in several if (value := share(stacks, function)) is not None]
            made = estimate(found)
            yield Share(
                graph=graph,
                variant=variant,
                mode=mode,
                function=name,
                value=made.value,
                low=made.low,
                high=made.high,
                recordings=len(found),
                samples=samples,
                withheld=_withheld(plan, recordings, graph, variant),
            )


def _costs(plan: FlamePlan, recordings: Sequence[Recorded]) -> Iterator[SpyCost]:
    for name, graph in plan.spec.graphs.items():
        for variant in graph.variants:
            here = [one for one in recordings if (one.run.experiment, one.run.variant) == (name, variant)]
            for mode in get_args(SpyMode):
                pairs = [
                    (alone, spied)
                    for one in here
                    if (alone := _segment(one, "none")) and (spied := _segment(one, mode))
                ]
                if not pairs:
                    continue
                without, with_spy = ([per_request(one) for one in side] for side in zip(*pairs, strict=True))
                made = ratio(with_spy, without)
                yield SpyCost(
                    graph=name,
                    variant=variant,
                    mode=mode,
                    without_ms=statistics.median(without),
                    with_ms=statistics.median(with_spy),
                    value=made.value,
                    low=made.low,
                    high=made.high,
                    spy_share=statistics.median(s.spy_cpu_ms / _span_ms(s) for _, s in pairs),
                    ended_share=statistics.median(s.ended_cpu_ms / s.app_cpu_ms for _, s in pairs),
                    recordings=len(pairs),
                )


def _segment(recorded: Recorded, mode: SpyMode) -> Segment | None:
    """Return a mode of a recording in which there was something to look at."""
    return next(
        (s for s in recorded.segments if s.mode == mode and s.requests and s.app_cpu_ms and not s.complaint),
        None,
    )


def per_request(segment: Segment) -> float:
    """CPU of the app per answered request, ms."""
    assert segment.requests
    return segment.app_cpu_ms / segment.requests


def _span_ms(segment: Segment) -> float:
    return (segment.until_ns - segment.from_ns) / 1e6


def judge_share(claim: Claim, summary: FlameSummary | None) -> tuple[VerdictWord, str]:
    """Hold a function's share here against the published range, widened by tolerance or points."""
    if summary is None or claim.share is None:
        return "not testable here", NO_GRAPH
    one = claim.share
    found = {
        share.mode: share
        for share in summary.shares
        if (share.graph, share.variant, share.function) == (one.graph, one.variant, one.function)
    }
    here = found.get("published")
    if here is None:
        few = f"This bundle has no {FEW_SAMPLES} samples of {one.graph}, {one.variant}."
        return "not testable here", few
    said = f"{one.function} has {share_text(here)} of {here.samples} samples of {one.graph}, {one.variant}"
    if "idle" in found:
        said += f", with waiting threads {found['idle'].value:.1f} %"
    return _held(claim, here, said)


def _held(claim: Claim, here: Share, said: str) -> tuple[VerdictWord, str]:
    if here.withheld:
        return "undecided", f"No verdict: {'; '.join(here.withheld)}."
    if here.low is None or here.high is None:
        return "undecided", f"{said}: too few recordings for a verdict, {MIN_BLOCKS} are needed."
    least, most = accepted(claim)
    said += f"; accepted from {least:.1f} to {most:.1f} %"
    if least <= here.low and here.high <= most:
        return "holds here", f"{said}: all of the interval is inside."
    if here.high < least or most < here.low:
        return "does not hold here", f"{said}: all of the interval is outside."
    return "undecided", f"{said}: the interval reaches over a limit."


def accepted(claim: Claim) -> tuple[float, float]:
    """Return the range, per cent, in which a share bears a claim out."""
    low, high = claim.published["low"], claim.published["high"]
    if claim.points is not None:
        return max(0.0, low - claim.points), high + claim.points
    assert claim.tolerance is not None
    return low / (1 + claim.tolerance), high * (1 + claim.tolerance)


def share_text(share: Share) -> str:
    """Write a share with its interval."""
    if share.low is None or share.high is None:
        return f"{share.value:.1f} %"
    return f"{share.value:.1f} % ({share.low:.1f}..{share.high:.1f})"
