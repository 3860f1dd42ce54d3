"""What the report says, in which order: results in, sections of sentences, tables and charts out.

The terminal, Markdown and HTML reports render the same sections, so that they cannot disagree; the first
two leave some of them out, and all charts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.judge import packed_hosts
from ironbench.metrics import MIN_ABOVE
from ironbench.report.beside import beside_sections
from ironbench.report.dots import dot_chart
from ironbench.report.drift import drift_chart, drift_table
from ironbench.report.evidence import effects_section, noise_section, tallies, verdict_section
from ironbench.report.flame_graphs import flame_sections
from ironbench.report.model import Document, Section, Table
from ironbench.report.published import published_sections
from ironbench.report.query_plans import query_plan_sections
from ironbench.report.seconds import second_charts
from ironbench.report.tail import tail_chart
from ironbench.report.words import number, sides
from ironbench.scorecard import CENSORED, HIDDEN, why_hidden
from ironbench.stats import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ironbench.records import Cell, Finding, Results, Row, RunFigures, Scorecard
    from ironbench.report.model import Chart


def make_document(results: Results) -> Document:
    """Put the results into words and tables."""
    return Document(
        title=f"{results.manifest.study}, protocol {results.manifest.protocol}",
        tallies=tallies(results),
        facts=_facts(results),
        flags=list(_flags(results)),
        sections=[
            verdict_section(results),
            *(_figures(results) if results.total else ()),
            *query_plan_sections(results),
            *flame_sections(results),
            *_damaged(results),
            *(_runs(results) if results.total else ()),
            *published_sections(results),
            *_environment(results),
            _reproduce(results),
        ],
        closing="Runs in their order, charts and environment: report.html of the bundle.",
    )


def _figures(results: Results) -> Iterator[Section]:
    """Make the sections on what the runs say; a bundle of query plans or flame graphs alone has no runs."""
    yield effects_section(results)
    yield from (_scorecard(card, results) for card in results.scorecards)
    yield from beside_sections(results)
    yield noise_section(results)
    yield _placement(results)


def _runs(results: Results) -> Iterator[Section]:
    yield _sessions(results)
    yield _instrument_faults(results)
    yield _outcomes(results)
    yield _drift(results)
    yield _run_order(results)
    yield _layout(results)
    yield _cpu_check(results)


def _facts(results: Results) -> dict[str, str]:
    manifest = results.manifest
    git = "not from a git working tree"
    if manifest.git is not None:
        git = manifest.git.commit + (", with uncommitted changes" if manifest.git.dirty else ", clean")
    share = results.window_share
    pace = {} if share is None else {"Pace": f"{100 * share:.0f} % of the wall time was inside load windows"}
    return {
        "Bundle": manifest.id,
        "Created": manifest.created,
        "Commit": git,
        "Study": f"{manifest.study}, digest {manifest.study_digest[:16]}",
        "Protocol": f"{manifest.protocol}: {results.blocks} blocks, {results.warmup_s:g} s warm-up, "
        f"{results.window_s:g} s window"
        if results.total
        else f"{manifest.protocol}, without runs",
        "Seed": "none: imported"
        if manifest.imported
        else f"{results.seed}, {'given' if results.seed_given else 'drawn'}",
        **pace,
        "ironbench": f"{'imported' if manifest.imported else 'measured'} by {manifest.ironbench_version}, "
        f"rendered by {results.rendered_by}",
    }


def _flags(results: Results) -> Iterator[str]:
    imported = results.manifest.imported
    if imported is not None:
        yield (
            f"Imported: not observed by ironbench. Logs of {imported.source} ({imported.revision}; "
            f"{imported.licence}). CPU-ms per request and instrument faults cannot be known from them."
        )
    if results.damaged:
        yield (
            f"Damaged: {len(results.damaged)} of the bundle's files are not as they were written, and what they "
            "belong to is left out of the figures; they are named below."
        )
    yield from (f"No verdict on what was measured here: {reason}." for reason in results.withheld)
    for one in results.conduct:
        yield from (f"No verdict in {one.experiment}: {reason}." for reason in one.withheld)
    yield from results.quiet
    packed = packed_hosts(results.layout)
    if packed:
        yield (
            f"Packed layout: no verdict on latency. On {', '.join(packed)} services share CPUs, so latency "
            "there includes waiting for each other and for the load generator."
        )
    if results.total and results.blocks < MIN_BLOCKS:
        blocks = "1 block" if results.blocks == 1 else f"{results.blocks} blocks"
        yield (
            f"Too few runs for a verdict: the protocol {results.manifest.protocol} has {blocks} and {MIN_BLOCKS} "
            "are needed. Whether a difference is more than chance is not decided here."
        )
    for sentence in results.order_bias:
        yield f"{sentence} What drifts within a block favours one of them, so that their difference is no evidence."
    left_out = [run for run in results.runs if not run.counted]
    if left_out:
        faulty = sum(bool(run.instrument_faults) for run in left_out)
        yield (
            f"{len(left_out)} of {results.sealed} sealed runs are left out of the figures, {faulty} of them "
            "for an instrument fault; all are listed below."
        )
    if imported is None and results.manifest.git is not None and results.manifest.git.dirty:
        yield "Measured from a working tree with uncommitted changes: the commit alone does not reproduce it."


# --- scorecards --------------------------------------------------------------------------------


def _scorecard(card: Scorecard, results: Results) -> Section:
    compared = card.first != card.last
    header = ["Metric", *card.variants, *([f"Delta ({card.first} to {card.last})"] if compared else [])]
    rows = [
        [
            f"{row.name}, {row.unit}" if row.unit != "count" else row.name,
            *(_cell(row.cells[variant]) for variant in card.variants),
            *([_delta(row)] if compared else []),
        ]
        for row in card.rows
    ]
    several = card.runs != card.sessions
    unit = "runs" if several else "sessions"
    counts = ", ".join(
        f"{variant} {card.requests[variant]} requests in {_runs_and_sessions(card, variant)}"
        for variant in card.variants
    )
    notes = [
        f"Latency from the intended send time, {unit} merged by count: {counts}.",
        f"CPU and rate: median over the {unit}, with their range. The sum is that of each session.",
    ]
    if card.background:
        notes.append(
            f"Background in the same window: {card.background}. Its rows are medians over the {unit}, and CPU per "
            "request is over the requests of both loads."
        )
    if any(cell.low is not None and cell.low < 0 for row in card.rows for cell in row.cells.values()):
        notes.append("Around zero, also below it: no more work than in the quiet time before the window.")
    if any(cell.note == HIDDEN for row in card.rows for cell in row.cells.values()):
        notes.append(f"{HIDDEN}: hidden, because fewer than {MIN_ABOVE} samples lie above this percentile.")
    if any(cell.note == CENSORED for row in card.rows for cell in row.cells.values()):
        notes.append(
            f"{CENSORED}: hidden, because it lies among the requests that were given up, and nobody knows how long "
            "they would have taken. They are in the mean with what they took until then, so it is a lower bound."
        )
    if any(cell.value for row in card.rows if row.unit == "count" for cell in row.cells.values()):
        notes.append(
            "A request that ended in an error other than a timeout has no latency; one with an unexpected status has. "
            "Neither is in CPU per request or in the achieved rate."
        )
    if results.manifest.imported is not None and several:
        notes.append("Percentiles of merged runs are exact to one step of the spectra that wrk2 printed.")
    return Section(
        title=f"{card.experiment}: {card.title}",
        table=Table(header=header, rows=rows),
        notes=notes,
        charts=list(_charts(card.experiment, results)),
    )


def _charts(experiment: str, results: Results) -> Iterator[Chart]:
    runs = [run for run in results.runs if run.experiment == experiment]
    there = sides(results, experiment)
    curves = [curve for curve in results.curves if curve.experiment == experiment]
    for chart in (dot_chart(experiment, there, runs), tail_chart(experiment, there, curves)):
        if chart is not None:
            yield chart
    within = [one for one in results.within if one.experiment == experiment]
    yield from second_charts(experiment, there, within)


def _runs_and_sessions(card: Scorecard, variant: str) -> str:
    sessions = f"{card.sessions[variant]} sessions"
    if card.runs[variant] == card.sessions[variant]:
        return sessions
    return f"{card.runs[variant]} runs of {sessions}"


def _cell(cell: Cell) -> str:
    if cell.value is None:
        return cell.note
    if cell.low is None or cell.high is None or cell.low == cell.high:
        return number(cell.value)
    return f"{number(cell.value)} ({number(cell.low)}..{number(cell.high)})"


def _delta(row: Row) -> str:
    if row.delta is None:
        return "-"
    if row.unit == "%":
        return f"{row.delta.absolute:+.1f} points"
    absolute = number(row.delta.absolute, sign=True)
    if row.unit != "count":
        absolute += f" {row.unit}"
    return absolute if row.delta.relative is None else f"{row.delta.relative:+.1f} % ({absolute})"


# --- ledgers and runs --------------------------------------------------------------------------


def _placement(results: Results) -> Section:
    title = "Placement of connections on the app's workers"
    if not results.strata:
        return Section(
            title=title,
            paragraphs=[
                "Not known: wrk2 does not tell its connections, and of others the app's host told nothing."
            ],
            terminal=False,
            markdown=False,
        )
    rows = [
        [
            one.experiment,
            one.side,
            one.declared.replace("_", " "),
            one.placement,
            str(one.runs),
            str(one.requests),
            number(one.mean_ms),
            "-" if one.app_cpu_ms is None else number(one.app_cpu_ms),
        ]
        for one in results.strata
    ]
    header = ["Experiment", "Side", "Placement", "Connections by worker", "Runs", "Requests", "Mean, ms"]
    notes = [
        "Mean latency is over all requests of the runs that lay alike, the most connections first; CPU their median."
    ]
    if any(one.declared == "as_landed" for one in results.strata):
        notes.append(
            "As landed: the kernel deals the connections to workers by chance. Compare the latency of two sides "
            "only where their connections lay alike."
        )
    return Section(
        title=title,
        table=Table(header=[*header, "App, CPU-ms"], rows=rows, words=4),
        notes=notes,
        terminal=False,
        markdown=False,
    )


def _damaged(results: Results) -> Iterator[Section]:
    if results.damaged:
        mend = (
            "The plan cannot go on with them: move the run's directory out of the bundle, and the run is measured "
            "again."
        )
        yield Section(
            title="Damaged files",
            paragraphs=["Import the logs again." if results.manifest.imported else mend],
            table=Table(
                header=["Kind", "What"],
                rows=[[damage.kind, damage.detail] for damage in results.damaged],
                words=2,
            ),
        )


def _sessions(results: Results) -> Section:
    """Make the section on the sessions that were not simply measured once."""
    rows = [
        [
            one.experiment,
            one.side,
            *(
                str(count)
                for count in (
                    one.planned,
                    one.counted,
                    one.repeated,
                    one.left_out,
                    one.faulty,
                    one.lost,
                    one.interrupted,
                )
            ),
        ]
        for one in results.counts
        if (one.counted, one.left_out, one.lost, one.interrupted) != (one.planned, 0, 0, 0)
    ]
    header = [
        "Experiment",
        "Side",
        "Planned",
        "Counted",
        "Repeated",
        "Left out",
        "Faulty",
        "Lost",
        "Interrupted",
    ]
    return Section(
        title="Sessions by side",
        paragraphs=[] if rows else ["Every planned session was measured once, and counts."],
        table=Table(header=header, rows=rows, words=2) if rows else None,
        notes=[
            (
                "Repeated: measured again with its block. Left out: sealed, and its figures do not count. Faulty: with an "
                "instrument fault of its own. Interrupted: begun, and neither sealed nor noted as lost. Sides that are not "
                "here were measured as planned."
            )
        ]
        if rows
        else [],
    )


def _instrument_faults(results: Results) -> Section:
    rows = _ledger((run.key, fault) for run in results.runs for fault in run.instrument_faults)
    rows += _ledger((f"{key}, lost", fault) for key, faults in results.lost.items() for fault in faults)
    if results.manifest.imported is not None:
        return Section(
            title="Instrument faults", paragraphs=["Not known: imported, not observed by ironbench."]
        )
    return Section(
        title="Instrument faults",
        paragraphs=["They say that the bench failed, not the service: the runs below do not count."]
        if rows
        else ["None."],
        table=_ledger_table(rows),
    )


def _outcomes(results: Results) -> Section:
    rows = _ledger((run.key, outcome) for run in results.runs for outcome in run.outcomes)
    return Section(
        title="Outcomes",
        paragraphs=["They are results of the service under load; the runs count."] if rows else ["None."],
        table=_ledger_table(rows),
    )


def _ledger_table(rows: list[list[str]]) -> Table | None:
    return Table(header=["Run", "Host", "Kind", "What"], rows=rows, words=4) if rows else None


def _ledger(entries: Iterable[tuple[str, Finding]]) -> list[list[str]]:
    return [[key, finding.host or "-", finding.kind, finding.detail] for key, finding in entries]


def _drift(results: Results) -> Section:
    experiments = {card.experiment: sides(results, card.experiment) for card in results.scorecards}
    chart = drift_chart(experiments, results.runs)
    return Section(
        title="Order of runs and drift",
        paragraphs=[] if chart else ["No run is sealed yet."],
        table=drift_table(experiments, results.runs),
        notes=["Medians of the first and of the last third of a side's counted runs."] if chart else [],
        charts=[chart] if chart else [],
        terminal=False,
        markdown=False,
    )


def _run_order(results: Results) -> Section:
    rows = [
        [
            str(run.position),
            run.experiment,
            str(run.block),
            _variant(run),
            "yes" if run.counted else run.why_not,
            run.started or "-",
            number(run.achieved_rps),
            number(run.latency.mean),
            why_hidden(run.latency, "p90") or number(run.latency.p90),
            why_hidden(run.latency, "max") or number(run.latency.max),
            "-" if run.app_cpu_ms is None else number(run.app_cpu_ms),
            "-" if run.sum_cpu_ms is None else number(run.sum_cpu_ms),
            "-" if run.mhz is None else f"{run.mhz:.0f}",
        ]
        for run in results.runs
    ]
    header = ["Run", "Experiment", "Block", "Variant", "Counts", "Started", "Rate, rps", "Mean, ms"]
    header += ["P90, ms", "Max, ms", "App, CPU-ms", "Sum, CPU-ms", "MHz"]
    notes = ["CPU-ms are per request. MHz: mean clock of the bench's CPUs on the app's host."]
    if any(not run.number for run in results.runs):
        notes.append(
            "A sar run gives its session's CPU figures; its latency is here and not in the tables above."
        )
    return Section(
        title="Runs in the order of measurement",
        paragraphs=[] if rows else ["No run is sealed yet."],
        table=Table(header=header, rows=rows, words=6, rest="runs.csv") if rows else None,
        notes=notes if rows else [],
        markdown=False,
    )


def _variant(run: RunFigures) -> str:
    told = [f"run {run.number}" if run.number else "sar run"] if run.number != 1 else []
    told += [f"repetition {run.attempt - 1}"] if run.attempt > 1 else []
    return f"{run.side} ({', '.join(told)})" if told else run.side


# --- how it was measured -----------------------------------------------------------------------


def _layout(results: Results) -> Section:
    rows = [
        [
            host,
            layout.name + (" (PACKED)" if layout.packed else ""),
            layout.app,
            layout.database,
            layout.cache,
            layout.load_generator,
            layout.housekeeping,
        ]
        for host, layout in results.layout.items()
    ]
    header = ["Host", "Layout", "App", "Database", "Cache", "Load generator", "Housekeeping"]
    return Section(
        title="Core layout",
        paragraphs=[flag for flag in _flags(results) if flag.startswith("Packed")],
        table=Table(header=header, rows=rows, words=7) if rows else None,
        markdown=False,
    )


def _cpu_check(results: Results) -> Section:
    title = "Two instruments on CPU time: cgroup counters against sar"
    if not results.cpu_check:
        return Section(title=title, paragraphs=["No counted run has both."], markdown=False)
    rows = []
    for check in results.cpu_check:
        differences = [f"{100 * d:+.1f} %" for d in (check.median, check.low, check.high)]
        error = f"{100 * check.sampling_error:.1f} %"
        rows.append([check.host, check.cpus, str(check.runs), *differences, error])
    header = ["Host", "CPUs", "Runs", "Median", "Lowest", "Highest", "Sampling"]
    return Section(
        title=title,
        table=Table(header=header, rows=rows, words=2),
        notes=[
            "Negative: sar saw work on these CPUs that belongs to no service of the bench.",
            "Sampling: the standard error of one run's difference that sar's sampling alone explains.",
        ],
        markdown=False,
    )


def _environment(results: Results) -> Iterator[Section]:
    for host, told in results.environment.items():
        rows = [[key, value] for key, value in _flat("", told)]
        yield Section(
            title=f"Environment of {host}",
            table=Table(header=["What", "Value"], rows=rows, words=2),
            terminal=False,
            markdown=False,
        )
    for host, facts in results.measured.items():
        yield Section(
            title=f"What was measured on {host}",
            paragraphs=["Read back from what ran, the same in all sessions; settings as SHA-256."],
            table=Table(header=["What", "Value"], rows=[list(one) for one in facts.items()], words=2),
            terminal=False,
            markdown=False,
        )


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{prefix}.{index}", inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, str(value)


def _reproduce(results: Results) -> Section:
    if results.manifest.imported is not None:
        return Section(
            title="How to reproduce it",
            paragraphs=["From the same logs in the directory LOGS."],
            commands=results.reproduce,
        )
    return Section(
        title="How to reproduce it",
        paragraphs=[
            "The same runs in the same order, with the same seed. INVENTORY: the directory that describes the hosts."
        ],
        commands=results.reproduce,
    )
