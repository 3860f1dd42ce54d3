"""The sections beside the scorecards: event loops, searches, and effects that depend on a second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.report.model import Section, Table
from ironbench.report.tail import Told, distribution_chart
from ironbench.report.words import call_text, effect_text, metric_title, number, sides

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import Dependence, Results, Searched
    from ironbench.report.model import Chart

DEPENDENCE = (
    "The same change at each level of the factor that it is crossed with. It depends if what it shows is not the same "
    "everywhere; where one level is undecided or has too few runs, that is not decided."
)
DEPENDS = {True: "yes", False: "no", None: "not decided"}


def beside_sections(results: Results) -> Iterator[Section]:
    """Yield those that the bundle has something for."""
    if results.dependences:
        yield _dependences(results)
    if results.blocked:
        yield _blocked(results)
    if results.searched:
        yield _searches(results)


def _dependences(results: Results) -> Section:
    levels = list(dict.fromkeys(level for one in results.dependences for level in one.effects))
    return Section(
        title="Does the effect depend on a second factor?",
        paragraphs=[DEPENDENCE],
        table=Table(
            header=["Experiment", "Metric", "Change", "Factor", "Depends", *levels],
            rows=[
                [
                    one.experiment,
                    metric_title(one.metric, unit=False),
                    one.change,
                    one.factor,
                    DEPENDS[one.depends],
                    *(_at(one, level) for level in levels),
                ]
                for one in results.dependences
            ],
            words=5,
        ),
        notes=["No verdict on latency where a packed layout measured it: it is shown all the same."]
        if any(effect.packed for one in results.dependences for effect in one.effects.values())
        else [],
    )


def _at(one: Dependence, level: str) -> str:
    effect = one.effects.get(level)
    return "-" if effect is None else f"{call_text(effect)}: {effect_text(effect)}"


def _blocked(results: Results) -> Section:
    charts = [
        _blocked_chart(name, results) for name in dict.fromkeys(one.experiment for one in results.blocked)
    ]
    header = ["Experiment", "Side", "Runs", "Requests", "Callbacks", "Per request, ms"]
    header += ["P50, ms", "P90, ms", "P99, ms", "Max, ms", "100 ms and more"]
    return Section(
        title="What blocks the event loop",
        table=Table(
            header=header,
            rows=[
                [
                    one.experiment,
                    one.side,
                    str(one.runs),
                    str(one.requests),
                    str(one.callbacks),
                    "-" if one.per_request_ms is None else number(one.per_request_ms),
                    *(
                        number(one.quantiles_ms[name]) if name in one.quantiles_ms else "-"
                        for name in ("p50", "p90", "p99", "max")
                    ),
                    str(one.from_100_ms),
                ]
                for one in results.blocked
            ],
            words=2,
        ),
        notes=[
            "Wall-clock time of single callbacks by asyncio's debug log, to the millisecond: it holds waiting for a CPU.",
            "Per request: all callbacks of a run above the app's threshold over its requests, the median of the runs.",
            "The debug mode itself costs time: compare these runs with each other and with no others.",
        ],
        charts=[chart for chart in charts if chart is not None],
    )


def _blocked_chart(experiment: str, results: Results) -> Chart | None:
    told = Told(
        title=f"{experiment}: single callbacks",
        axis="blocked",
        samples="Callbacks",
        caption="Callbacks above the app's threshold, all counted runs of a side together.",
    )
    curves = [one.curve for one in results.blocked if one.experiment == experiment and one.curve]
    return distribution_chart(told, sides(results, experiment), curves)


def _searches(results: Results) -> Section:
    rows = [
        [
            one.experiment,
            one.side,
            str(one.block),
            "none" if one.result.highest_rps is None else f"{one.result.highest_rps:g}",
            "none" if one.result.lowest_rps is None else f"{one.result.lowest_rps:g}",
            f"{one.result.p99_ms:g}",
            number(one.window.p99),
            _steps(one),
        ]
        for one in results.searched
    ]
    header = [
        "Experiment",
        "Side",
        "Block",
        "Kept, rps",
        "Not kept, rps",
        "Bound, ms",
        "P99 in the window, ms",
    ]
    notes = [
        "Kept: everything was answered, without an error, and P99 within the bound. The highest such rate is between the two.",
        "The window was then measured at the rate that was kept. A step is short, so its P99 wavers.",
    ]
    if any(one.packed for one in results.searched):
        notes.append(
            "On a packed layout this is the rate of the whole machine, generator included: it is no capacity of the app."
        )
    return Section(
        title="Highest rate with P99 under a bound",
        table=Table(header=[*header, "Steps: rate (P99)"], rows=rows, words=3, prose=[7]),
        notes=notes,
    )


def _steps(one: Searched) -> str:
    return ", ".join(
        f"{step.rate:g} ({number(step.p99_ms)} ms{'' if step.kept else f', not kept: {step.why_not}'})"
        for step in one.result.steps
    )
