"""The rules by which claims of kind ``record`` are judged: arithmetic over published figures and logs.

Such a claim names a rule and gives it arguments. It holds when the arithmetic bears it out, and cannot be tested
where the log that it rests on was not published. No host is needed, and no verdict on a host follows from it.
"""

from __future__ import annotations

import math
import statistics
from decimal import Decimal
from typing import TYPE_CHECKING, get_args

from ironbench.judge import SATURATION
from ironbench.lint.rules import BUCKET
from ironbench.metrics import MIN_ABOVE, PERCENTILES
from ironbench.published.figures import RowName, SarFigures, make_series, spread, table_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from ironbench.published.figures import LoggedSeries, Published, PublishedTable
    from ironbench.records import Claim, VerdictWord

    Words = tuple[VerdictWord, str]
    Rule = Callable[[Claim, Published], Words]

CPU_ROWS: tuple[RowName, ...] = ("cpu0_usr_percent", "cpu1_usr_percent")

STABLE_CV = 0.03
"""Where the claim gives no other limit: that of the author's SPEC.md."""

# --- judging -----------------------------------------------------------------------------------


def judge_record(claim: Claim, published: Published) -> Words:
    """Judge a claim of kind ``record`` by its rule.

    "Not testable here" where the published figures and logs do not hold what the rule needs.
    """
    rule = RULES.get(claim.rule)
    if rule is None:
        return "not testable here", f"This ironbench has no rule {claim.rule}: it has {', '.join(RULES)}."
    try:
        return rule(claim, published)
    except _LackingError as lacking:
        return "not testable here", str(lacking)
    except ArithmeticError:
        return "not testable here", f"A figure that the rule {claim.rule} divides by is zero."


class _LackingError(Exception):
    """The published figures and logs do not hold what a rule needs, as one sentence."""


def _words(holds: bool, reason: str) -> Words:
    return ("holds here" if holds else "does not hold here"), f"{reason[0].upper()}{reason[1:]}."


def _argument(claim: Claim, name: str) -> str:
    if name not in claim.arguments:
        raise _LackingError(f"The claim gives the rule {claim.rule} no argument {name}.")
    return claim.arguments[name]


def _number(claim: Claim, name: str, default: float) -> float:
    text = claim.arguments.get(name, str(default))
    try:
        return float(text)
    except ValueError:
        raise _LackingError(
            f"The argument {name} of the rule {claim.rule} is {text!r}, not a number."
        ) from None


def _stated(claim: Claim, name: str) -> float:
    if name not in claim.published:
        raise _LackingError(f"The claim states no figure {name}, which the rule {claim.rule} needs.")
    return claim.published[name]


def _series(published: Published, name: str) -> LoggedSeries:
    found = {series.name: series for series in published.series}
    if name not in found:
        raise _LackingError(f"No logs of {name} were published; there are those of {', '.join(found)}.")
    return found[name]


def _in_tables(claim: Claim, published: Published) -> list[tuple[LoggedSeries, float]]:
    """Return the series that stand in a table, of one test or of all, each with its printed mean."""
    test = claim.arguments.get("test")
    means = [
        (one, table_figure(published, one, "mean_ms")) for one in published.series if test in (None, one.test)
    ]
    found = [(series, mean) for series, mean in means if mean is not None]
    if not found:
        raise _LackingError(
            f"No published table shows a series of {test or 'this study'} whose logs are at hand."
        )
    return found


def _table(claim: Claim, published: Published) -> PublishedTable:
    name = _argument(claim, "table")
    found = {table.name: table for table in published.tables}
    if name not in found:
        raise _LackingError(f"There is no table {name}; there are {', '.join(found)}.")
    return found[name]


def _figure(table: PublishedTable, row: str, column: str) -> float:
    """Return one figure of a table; row ``cpu`` is the mean over the rows of CPUs."""
    if column not in table.columns:
        raise _LackingError(f"Table {table.name} has no column {column}; it has {', '.join(table.columns)}.")
    names = CPU_ROWS if row == "cpu" else (row,)
    found = [table.rows[name].figures[table.columns.index(column)] for name in names if name in table.rows]
    if len(found) != len(names):
        raise _LackingError(f"Table {table.name} has no row {row}; it has {', '.join(table.rows)}.")
    return statistics.fmean(found)


def _row_name(claim: Claim) -> RowName:
    name = _argument(claim, "figure")
    for known in get_args(RowName):
        if known == name:
            return known
    raise _LackingError(
        f"The rule {claim.rule} knows no figure {name}; it knows {', '.join(get_args(RowName))}."
    )


# --- rules on series of runs -------------------------------------------------------------------


def published_is_mean(claim: Claim, published: Published) -> Words:
    """Say whether the printed means are the means of all runs, and which run they are otherwise.

    Arguments: ``test`` (default: all).
    """
    found, parts = [], []
    for series, _ in _in_tables(claim, published):
        one = make_series(published, series)
        found.append(one.is_mean)
        what = "the mean" if one.is_mean else f"run {one.run} of {len(one.runs_ms)}" if one.run else "no run"
        parts.append(f"of {series.name} {what} ({one.published_ms:.2f} ms; the mean is {one.mean_ms:.2f})")
    return _words(all(found), f"the table shows {', '.join(parts)}")


def published_delta_of_means(claim: Claim, published: Published) -> Words:
    """Say what a printed difference of means becomes with the means of all runs.

    It holds if it keeps its sign, no run of one side lies among those of the other, and its size is between half
    and one and a half of that with all runs, as logarithms of the ratio.

    Arguments: ``series`` and ``against``.
    """
    above, below = (_series(published, _argument(claim, name)) for name in ("series", "against"))
    printed = [table_figure(published, series, "mean_ms") for series in (above, below)]
    if printed[0] is None or printed[1] is None:
        raise _LackingError(f"No published table shows both {above.name} and {below.name}.")
    sides = [[run.mean_ms for run in series.measured] for series in (above, below)]
    means = [statistics.fmean(side) for side in sides]
    told, here = math.log(printed[0] / printed[1]), math.log(means[0] / means[1])
    apart = max(sides[0]) < min(sides[1]) or max(sides[1]) < min(sides[0])
    holds = apart and told * here > 0 and 0.5 <= told / here <= 1.5
    spans = " and ".join(
        f"{series.variant} from {min(side):.2f} to {max(side):.2f} ms"
        for series, side in zip((above, below), sides, strict=True)
    )
    return _words(
        holds,
        f"{_change(told)} as printed and {_change(here)} with the means of all runs ({means[0]:.2f} against "
        f"{means[1]:.2f} ms); the runs of the two {'lie apart' if apart else 'overlap'}: {spans}",
    )


def _change(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):+.1f} %"


def stable_series(claim: Claim, published: Published) -> Words:
    """Say whether the coefficient of variation of the runs' means is below a limit, in each series.

    Arguments: ``test`` (default: all), ``below`` (default: 0.03).
    """
    limit = _number(claim, "below", STABLE_CV)
    cvs = {
        series.name: spread([run.mean_ms for run in series.measured])
        for series, _ in _in_tables(claim, published)
    }
    known = {name: cv for name, cv in cvs.items() if cv is not None}
    if not known:
        raise _LackingError("Of no series is more than one run published.")
    stable = {name: cv for name, cv in known.items() if cv < limit}
    least = ", ".join(
        f"{name} {100 * cv:.1f} %" for name, cv in sorted(stable.items(), key=lambda one: one[1])
    )
    worst = max(known, key=lambda name: known[name])
    return _words(
        len(stable) == len(known),
        f"{len(stable)} of {len(known)} series have a coefficient of variation below {100 * limit:g} %"
        f"{f' ({least})' if least else ''}; the largest is {100 * known[worst]:.1f} % ({worst})",
    )


def other_runs_agree(claim: Claim, published: Published) -> Words:
    """Say whether a printed figure is about that of the series' other runs.

    Arguments: ``series``, ``figure``, ``factor`` (default: 1.5).
    """
    series, row = _series(published, _argument(claim, "series")), _row_name(claim)
    factor = _number(claim, "factor", 1.5)
    printed = table_figure(published, series, row)
    if printed is None:
        raise _LackingError(f"No published table shows {row} of {series.name}.")
    others = [
        figure
        for run in series.measured
        if run.number != series.published_run and (figure := getattr(run, row, None)) is not None
    ]
    if not others:
        raise _LackingError(f"No log of another run of {series.name} with {row} was published.")
    return _words(
        all(max(figure / printed, printed / figure) <= factor for figure in others),
        f"{printed:.2f} is printed, of run {series.published_run}; other runs of {series.name} have "
        f"{' and '.join(f'{figure:.2f}' for figure in others)}",
    )


def runs_published(claim: Claim, published: Published) -> Words:
    """Say whether as many runs as stated were published of each series; fewer cannot be tested.

    Arguments: ``series`` or ``test`` (default: all that a table shows). States ``runs``.
    """
    wanted = _stated(claim, "runs")
    one = claim.arguments.get("series")
    chosen = [_series(published, one)] if one else [series for series, _ in _in_tables(claim, published)]
    short = [series for series in chosen if len(series.measured) < wanted]
    if short:
        raise _LackingError(
            f"{len(short[0].measured)} runs of {short[0].name} were published, and the claim is about {wanted:g}."
        )
    exact = all(len(series.measured) == wanted for series in chosen)
    with_sar = sum(series.cpu is not None for series in chosen)
    return _words(
        exact, f"{len(chosen)} series have {wanted:g} runs each, {with_sar} of them a sar record too"
    )


def requests_at_most(claim: Claim, published: Published) -> Words:
    """Say whether a series' requests, with those of its sar run, are at most as many as stated.

    Arguments: ``test``. States ``requests``.
    """
    limit = _stated(claim, "requests")
    counts = {}
    for series, _ in _in_tables(claim, published):
        known = [run.requests for run in series.runs if run.requests is not None]
        if len(known) != len(series.runs):
            raise _LackingError(
                f"The logs of {series.name} with the requests of each run were not published."
            )
        counts[series.variant] = sum(known)
    told = ", ".join(f"{count} of {variant}" for variant, count in counts.items())
    holds = all(count <= limit for count in counts.values())
    return _words(holds, f"the logs have {told}; warm-ups come on top, and were not logged")


def saturates(claim: Claim, published: Published) -> Words:
    """Say whether each run was answered less often than it asked.

    Arguments: ``series``, ``rate`` (default: that of the series).
    """
    series, achieved = _achieved(claim, published)
    return _words(max(achieved) < SATURATION.limit * series.rate, _achieved_text(series, achieved))


def serves_rate(claim: Claim, published: Published) -> Words:
    """Say whether each run was answered as often as it asked.

    Arguments: ``series``, ``rate`` (default: that of the series).
    """
    series, achieved = _achieved(claim, published)
    return _words(min(achieved) >= SATURATION.limit * series.rate, _achieved_text(series, achieved))


def _achieved(claim: Claim, published: Published) -> tuple[LoggedSeries, list[float]]:
    series = _series(published, _argument(claim, "series"))
    rate = _number(claim, "rate", series.rate)
    achieved = [run.achieved_rps for run in series.measured if run.achieved_rps is not None]
    if not achieved:
        raise _LackingError(f"The logs of {series.name} with the rate of each run were not published.")
    if rate != series.rate:
        raise _LackingError(
            f"No log of {series.name} at {rate:g} requests per second was published; "
            f"{_achieved_text(series, achieved)}."
        )
    return series, achieved


def _achieved_text(series: LoggedSeries, achieved: list[float]) -> str:
    mean = statistics.fmean(run.mean_ms for run in series.measured)
    return (
        f"at {series.rate:g} requests per second {len(achieved)} runs answered {min(achieved):.1f} to "
        f"{max(achieved):.1f}, with a mean latency of {mean:.2f} ms"
    )


# --- rules on sar and flame graphs -------------------------------------------------------------


def spike_in_log(claim: Claim, published: Published) -> Words:
    """Say whether sar's record of a series has the stated figures.

    Arguments: ``series``, ``about`` (how far they may be from it, as a part; default: 0). States fields of
    SarFigures.
    """
    series, about = _series(published, _argument(claim, "series")), _number(claim, "about", 0)
    if not claim.published:
        raise _LackingError(f"The claim states no figure, which the rule {claim.rule} needs.")
    found = {name: _sar(series, name) for name in claim.published}
    told = ", ".join(
        f"{name} {figure:g} (stated {claim.published[name]:g})" for name, figure in found.items()
    )
    holds = all(abs(figure - claim.published[name]) <= about * figure for name, figure in found.items())
    return _words(holds, f"the sar record of {series.name} has {told}")


def spike_lower(claim: Claim, published: Published) -> Words:
    """Say whether a figure of sar's record is lower in one series than in another.

    Arguments: ``series``, ``against``, ``figure`` (a field of SarFigures).
    """
    name = _argument(claim, "figure")
    above, below = (_series(published, _argument(claim, side)) for side in ("series", "against"))
    figures = _sar(above, name), _sar(below, name)
    return _words(
        figures[0] < figures[1],
        f"the sar record of {above.name} has {name} {figures[0]:g}, that of {below.name} {figures[1]:g}",
    )


def _sar(series: LoggedSeries, name: str) -> float:
    found = getattr(series.sar, name, None) if name in SarFigures.__struct_fields__ else None
    if found is None:
        raise _LackingError(f"No sar record of {series.name} with {name} was published.")
    return found


def share_in_graph(claim: Claim, published: Published) -> Words:
    """Say whether a function has the stated share of a flame graph's samples.

    Arguments: ``graph``, ``functions`` (one, or several joined by +, whose shares add up), ``points`` (how far
    outside of the stated range the share may lie, in points; default: 1). States ``low`` and ``high``, per cent.
    """
    low, high, points = _stated(claim, "low"), _stated(claim, "high"), _number(claim, "points", 1)
    name = _argument(claim, "graph")
    graph = next((one for one in published.graphs if one.name == name), None)
    if graph is None:
        raise _LackingError(f"No flame graph {name} was published.")
    functions = [function.strip() for function in _argument(claim, "functions").split("+")]
    missing = [function for function in functions if function not in graph.share_percent]
    if missing:
        raise _LackingError(f"The share of {missing[0]} in the flame graph {name} is not at hand.")
    shares = [graph.share_percent[function] for function in functions]
    share = math.fsum(shares)
    total = f"{' + '.join(f'{one:g}' for one in shares)} = {share:.1f}" if len(shares) > 1 else f"{share:g}"
    stated = f"{low:g} %" if low == high else f"{low:g} to {high:g} %"
    leeway = f", give or take {points:g} {'point' if points == 1 else 'points'}" if points else ""
    return _words(
        low - points <= share <= high + points,
        f"of the {graph.samples} samples of {name} {total} % are in {' and '.join(functions)}; stated {stated}{leeway}",
    )


# --- rules on tables ---------------------------------------------------------------------------


def delta_arithmetic(claim: Claim, published: Published) -> Words:
    """Say whether printed differences follow from the columns beside them, within their rounding.

    Arguments: ``table`` (default: all).
    """
    tables = [_table(claim, published)] if "table" in claim.arguments else published.tables
    checked, wrong = [], []
    for table in tables:
        for name, row in table.rows.items():
            first, last = row.figures[0], row.figures[-1]
            for printed, exact in (
                (row.absolute, last - first),
                (row.relative_percent, 100 * (last / first - 1) if first else math.nan),
            ):
                if printed is None:
                    continue
                checked.append(table.name)
                if not abs(printed - exact) <= _last_digit(printed) / 2 + 1e-9:
                    wrong.append(
                        f"table {table.name} prints {printed:g} in row {name}, and it is {exact:.3f}"
                    )
    if not checked:
        raise _LackingError("No difference is printed there.")
    where = checked[0] if len(tables) == 1 else f"{len(set(checked))} tables"
    return _words(
        not wrong, "; ".join(wrong) or f"all {len(checked)} differences of {where} follow from their columns"
    )


def _last_digit(printed: float) -> float:
    """Return the place value of a figure's last decimal, as far as it is not a zero at the end."""
    exponent = Decimal(str(printed)).as_tuple().exponent
    return 10.0**exponent if isinstance(exponent, int) else math.nan


def percentile_not_above_max(claim: Claim, published: Published) -> Words:
    """Say whether no printed percentile lies above its Max by more than a histogram's bucket.

    Arguments: ``test`` (default: all).
    """
    count, beyond, within = 0, [], []
    for series, _ in _in_tables(claim, published):
        largest = table_figure(published, series, "max_ms")
        for row in ("p90_ms", "p99_ms"):
            figure = table_figure(published, series, row)
            if figure is None or largest is None:
                continue
            count += 1
            if figure > largest:
                text = f"{series.name} has {row} {figure:.2f} and max_ms {largest:.2f}"
                (within if figure <= largest * (1 + BUCKET) else beyond).append(text)
    if not count:
        raise _LackingError("No table shows a percentile and a Max.")
    edges = f"; {', '.join(within)}: upper and lower edge of one bucket" if within else ""
    told = (
        f"{len(beyond)} of {count} percentiles are above their Max: {', '.join(beyond)}"
        if beyond
        else (f"none of {count} percentiles is above its Max")
    )
    return _words(not beyond, told + edges)


def percentile_has_samples(claim: Claim, published: Published) -> Words:
    """Say whether enough samples lie above a printed percentile, in each series.

    Arguments: ``test``, ``percentile`` (default: p99).
    """
    name = claim.arguments.get("percentile", "p99")
    if name not in PERCENTILES:
        raise _LackingError(
            f"The rule {claim.rule} knows no percentile {name}; it knows {', '.join(PERCENTILES)}."
        )
    above = {}
    for series, _ in _in_tables(claim, published):
        if series.samples_per_run is None:
            raise _LackingError(f"How many samples a run of {series.name} has is not at hand.")
        above[series.variant] = min(series.samples_per_run) * (1 - PERCENTILES[name] / 100)
    told = ", ".join(f"{count:.1f} in {variant}" for variant, count in above.items())
    return _words(
        all(round(count, 6) >= MIN_ABOVE for count in above.values()),
        f"samples of a run above its {name}: {told}; {MIN_ABOVE} are needed",
    )


def ratio_of_table(claim: Claim, published: Published) -> Words:
    """Say whether one figure of a table over another of the same row is in the stated range.

    Arguments: ``table``, ``figure`` (or ``cpu``), ``above`` and ``below`` (columns). States ``low`` and ``high``.
    """
    low, high, table = _stated(claim, "low"), _stated(claim, "high"), _table(claim, published)
    row = _argument(claim, "figure")
    columns = [_argument(claim, name) for name in ("above", "below")]
    figures = [_figure(table, row, column) for column in columns]
    found = figures[0] / figures[1]
    known = {series.name: series for series in published.series}
    logged = [known[name] for column in columns if (name := f"{table.test}/{column}") in known]
    all_runs = ""
    if row == "mean_ms" and len(logged) == 2:
        means = [statistics.fmean(run.mean_ms for run in series.measured) for series in logged]
        all_runs = f"; with the means of all runs it is {means[0] / means[1]:.3g}"
    return _words(
        low <= found <= high,
        f"{figures[0]:g} over {figures[1]:g} is {found:.3g} in table {table.name}{all_runs}",
    )


def figure_in_table(claim: Claim, published: Published) -> Words:
    """Say whether a rounded figure of the text is that of the table.

    Arguments: ``table``, ``figure`` (or ``cpu``), ``column``. States ``value``, a whole number.
    """
    stated, table = _stated(claim, "value"), _table(claim, published)
    column = _argument(claim, "column")
    found = _figure(table, _argument(claim, "figure"), column)
    return _words(
        abs(found - stated) <= 0.5, f"table {table.name} has {found:.2f} for {column}; stated {stated:g}"
    )


def relative_change(claim: Claim, published: Published) -> Words:
    """Say whether a stated percentage is the change in per cent of the first column, and not in points.

    Arguments: ``table``, ``figure`` (or ``cpu``). States ``percent``.
    """
    stated, table = _stated(claim, "percent"), _table(claim, published)
    row = _argument(claim, "figure")
    first, last = (_figure(table, row, column) for column in (table.columns[0], table.columns[-1]))
    relative = 100 * (last / first - 1)
    return _words(
        abs(relative - stated) <= max(0.5, _last_digit(stated)),
        f"from {first:.2f} to {last:.2f} it is {relative:+.1f} % of the first, and {last - first:+.1f} points",
    )


RULES: dict[str, Rule] = {
    "published-is-mean": published_is_mean,
    "published-delta-of-means": published_delta_of_means,
    "stable-series": stable_series,
    "other-runs-agree": other_runs_agree,
    "runs-published": runs_published,
    "requests-at-most": requests_at_most,
    "saturates": saturates,
    "serves-rate": serves_rate,
    "spike-in-log": spike_in_log,
    "spike-lower": spike_lower,
    "share-in-graph": share_in_graph,
    "delta-arithmetic": delta_arithmetic,
    "percentile-not-above-max": percentile_not_above_max,
    "percentile-has-samples": percentile_has_samples,
    "ratio-of-table": ratio_of_table,
    "figure-in-table": figure_in_table,
    "relative-change": relative_change,
}
"""By the name that claims give."""
