"""From files to tables: CSV of either orientation, JSON, JSON lines, and our own results.json."""

from __future__ import annotations

import csv
import io
import json
import re
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.files import decode_record
from ironbench.lint.names import differs, is_summary, read_name
from ironbench.lint.tables import Delta, Figure, Metric, Series, Table, measured, read_figures
from ironbench.metrics import PERCENTILES, latency_figure
from ironbench.records import Record, Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ironbench.records import RunFigures, Scorecard

DELIMITERS = (",", ";", "\t", "|")

_PREFERRED = ("recorded", "samples", "count", "requests")
"""Which column counts the samples, where there are several: wrk2 forgets those of its calibration."""
_RUN_COLUMNS = frozenset(
    ("run", "iteration", "iter", "attempt", "trial", "repetition", "rep", "session", "block", "file", "log")
)
_RUN_NAME = re.compile(r"\b(?:run|iteration|attempt|trial|repetition|session)[\s_#-]*\d+\b")
_TOLD = {"latency_ms", "recorded", "spectrum"}
"""What a record of ``ironbench import wrk2 --json`` has; its spectrum is no table of results."""
_MAX_DEPTH = 20


class _Cell(Record, frozen=True, kw_only=True):
    header: str
    text: str


class _Line(Record, frozen=True, kw_only=True):
    """A line of a CSV file, or an object of a JSON file."""

    row: int
    cells: list[_Cell]


def read_tables(path: Path) -> list[Table]:
    """Read the tables of a file.

    Raises IronbenchError when it cannot be read, is neither CSV nor JSON, or holds no figure that has a name.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise IronbenchError(f"{path} is not text in UTF-8; save it as such.") from error
    tables = _json(text, str(path)) if text.lstrip().startswith(("{", "[")) else [_csv(text, str(path))]
    found = [table for table in tables if any(one.figures for one in table.series)]
    if not found:
        raise IronbenchError(
            f"{path} holds no figure that has a name; give a header (or a first column) with names such as mean, "
            "p50, p99, max, stdev, count, runs, rate."
        )
    return found


# --- CSV ---------------------------------------------------------------------------------------


def _csv(text: str, file: str) -> Table:
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise IronbenchError(f"{file} is not CSV, line {reader.line_num}: {error}.") from error
    rows = [(number, row) for number, row in rows if any(row)]
    if len(rows) < 2:
        raise IronbenchError(f"{file} has no header with rows below it; lint needs a table.")
    (_, header), body = rows[0], rows[1:]
    across = sum(bool(read_name(name).metric.stat) for name in header)
    down = sum(bool(read_name(row[0]).metric.stat) for _, row in body)
    comma = delimiter == ";"
    if down > across:
        return _scorecard(file, header, body, comma=comma)
    lines = [
        _Line(
            row=number,
            cells=[_Cell(header=name, text=text) for name, text in zip(header, row, strict=False)],
        )
        for number, row in body
    ]
    return _by_rows(file, "", lines, comma=comma)


def _scorecard(file: str, header: list[str], body: list[tuple[int, list[str]]], *, comma: bool) -> Table:
    """Read a table with a metric a row and a variant a column, as the article's are."""
    deltas_at = [at for at, name in enumerate(header) if at and differs(name, header[1:])]
    columns = [at for at in range(1, len(header)) if at not in deltas_at]
    figures: dict[int, dict[Metric, Figure]] = {at: {} for at in columns}
    deltas = []
    for number, row in body:
        name = read_name(row[0])
        cells: dict[int, Figure] = {}
        for at in columns:
            found = read_figures(_at(row, at), number, header[at], name.unit, comma=comma)
            if found:
                cells[at] = figures[at][name.metric] = measured(found)
        for at in deltas_at:
            printed = read_figures(_at(row, at), number, header[at], read_name(header[at]).unit, comma=comma)
            named = {header[column]: figure for column, figure in cells.items()}
            pairs = _pairs(header[at], named)
            if printed and pairs:
                deltas.append(Delta(metric=row[0], figures=printed, pairs=pairs))
    words = {at: " ".join([header[at], *(_at(row, at) for _, row in body)]).lower() for at in columns}
    return Table(
        file=file,
        name="",
        series=_grouped(
            [
                Series(
                    name=header[at],
                    figures=figures[at],
                    text=words[at],
                    run=bool(_RUN_NAME.search(header[at].lower())) and not is_summary(header[at]),
                    group=_RUN_NAME.sub(" ", header[at].lower()).strip(),
                )
                for at in columns
                if figures[at]
            ]
        ),
        deltas=deltas,
        text=" ".join([*header, *(row[0] for _, row in body)]).lower(),
    )


def _at(row: list[str], at: int) -> str:
    return row[at] if at < len(row) else ""


def _pairs(header: str, named: dict[str, Figure]) -> list[tuple[Figure, Figure]]:
    """Which figures a delta may be of: the two that its header names, else any two in order."""
    lowered = header.lower()
    places: dict[int, str] = {}
    for name in sorted(named, key=len):  # of names that start alike, the longest
        found = re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", lowered)
        if found:
            places[found.start()] = name
    if len(places) == 2:
        first, second = (named[places[at]] for at in sorted(places))
        return [(second, first)] if re.search(r"\b(?:vs|against|over)\b", lowered) else [(first, second)]
    figures = list(named.values())
    return [(a, b) for at, a in enumerate(figures) for b in figures[at + 1 :]]


# --- a row a series ----------------------------------------------------------------------------


def _by_rows(
    file: str, title: str, lines: Sequence[_Line], *, comma: bool = False, shared: Sequence[_Cell] = ()
) -> Table:
    """Read a table with a variant, or a run of one, a row; ``shared`` cells belong to every row."""
    known = [cell for cell in shared if read_name(cell.header).metric.stat]
    series: list[Series] = []
    deltas: list[Delta] = []
    for line in lines:
        made, own = _row(line, [*line.cells, *known], comma=comma)
        if differs(made.name, [one.name for one in series]):
            deltas += _row_deltas(made, [(one.name, one.figures) for one in series if not one.run])
            continue
        for metric, printed in own:
            of = metric if metric in made.figures else Metric(stat=metric.stat)
            sides = (*series[:1], *series[-1:])
            before = dict.fromkeys(one.figures[of] for one in sides if of in one.figures)
            if before and of in made.figures:
                pairs = [(figure, made.figures[of]) for figure in before]
                deltas.append(Delta(metric=printed[0].column, figures=printed, pairs=pairs))
        series.append(made)
    words = " ".join([title, *(cell.text for cell in shared)]).lower()
    return Table(file=file, name=title, series=_grouped(series), deltas=deltas, text=words)


def _row(line: _Line, cells: list[_Cell], *, comma: bool) -> tuple[Series, list[tuple[Metric, list[Figure]]]]:
    """Return the row's figures, and its deltas with the metric that they are of."""
    figures: dict[Metric, Figure] = {}
    source: dict[Metric, str] = {}
    deltas: list[tuple[Metric, list[Figure]]] = []
    labels: list[str] = []
    runs: list[str] = []
    for cell in cells:
        name = read_name(cell.header)
        found = read_figures(cell.text, line.row, cell.header, name.unit, comma=comma)
        column = re.split(r"[\s._]+", cell.header.lower())[-1]
        if column in _RUN_COLUMNS:
            runs.append(cell.text)
        elif not found:
            labels += [] if name.metric.stat or name.delta else [cell.text]
        elif name.delta:
            deltas.append((name.metric, found))
        elif name.metric not in figures or _rank(column) < _rank(source[name.metric]):
            figures[name.metric], source[name.metric] = measured(found), column
    label = " ".join(filter(None, labels))
    is_run = any(runs) or _RUN_NAME.search(label.lower()) is not None
    made = Series(
        name=" ".join(filter(None, [label, *runs])),
        figures=figures,
        text=" ".join(cell.text for cell in cells).lower(),
        run=is_run and not any(map(is_summary, (label, *runs))),
        group=" ".join([_RUN_NAME.sub(" ", label.lower()), *map(_without_numbers, runs)]).strip(),
    )
    return made, deltas


def _without_numbers(text: str) -> str:
    """What the runs of one series have in common: ``a/run_1.txt`` and ``a/run_2.txt`` are of one."""
    path = PurePath(text)
    return f"{path.parent}/{re.sub(r'[^a-z]+', '', path.name.lower())}"


def _rank(column: str) -> int:
    return _PREFERRED.index(column) if column in _PREFERRED else len(_PREFERRED)


def _row_deltas(row: Series, series: list[tuple[str, dict[Metric, Figure]]]) -> Iterator[Delta]:
    unit = read_name(row.name).unit
    for metric, figure in row.figures.items():
        pairs = _pairs(row.name, {name: figures[metric] for name, figures in series if metric in figures})
        told = read_figures(figure.text, figure.row, figure.column, unit) if unit else [figure]
        if pairs:
            yield Delta(metric=figure.column, figures=told, pairs=pairs)


def _grouped(series: list[Series]) -> list[Series]:
    """Take a run that is alone in its group for what it says it is: the only one."""
    sizes: dict[str, int] = {}
    for one in series:
        if one.run:
            sizes[one.group] = sizes.get(one.group, 0) + 1
    return [
        Series(
            name=one.name,
            figures=one.figures,
            text=one.text,
            run=one.run and sizes[one.group] > 1,
            group=one.group,
        )
        for one in series
    ]


# --- JSON --------------------------------------------------------------------------------------


def _json(text: str, file: str) -> list[Table]:
    value = _decoded(text, file)
    if isinstance(value, dict) and {"manifest", "scorecards", "runs"} <= value.keys():
        return _own(file, decode_record(text.encode(), Results, file))
    try:
        return list(_tables(file, "", value, [], 0))
    except RecursionError as error:
        raise IronbenchError(f"{file} is nested too deeply to be a table.") from error


def _decoded(text: str, file: str) -> object:
    try:
        return _load(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:  # as `ironbench import wrk2 --json` prints
            try:
                return [_load(line) for line in lines]
            except (json.JSONDecodeError, RecursionError):
                pass
        raise IronbenchError(f"{file} is not JSON, line {error.lineno}: {error.msg}.") from error
    except RecursionError as error:
        raise IronbenchError(f"{file} is nested too deeply to be a table.") from error


def _load(text: str) -> object:
    # Decimal keeps the digits as they were printed.
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)


def _tables(file: str, title: str, value: object, shared: list[_Cell], depth: int) -> Iterator[Table]:
    """Find the tables: lists of objects, and objects of objects; single values beside them are shared."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        rows = [(number, one) for number, one in enumerate(value, 1) if isinstance(one, dict)]
        if rows:
            lines = [_Line(row=number, cells=list(_flat("", one, 0))) for number, one in rows]
            yield _by_rows(file, title, lines, shared=shared)
    elif isinstance(value, dict):
        yield from _tables_in(file, title, value, shared, depth)


def _tables_in(file: str, title: str, value: dict, shared: list[_Cell], depth: int) -> Iterator[Table]:
    plain = [_Cell(header=str(key), text=_text(one)) for key, one in value.items() if _is_plain(one)]
    if value.keys() >= _TOLD:
        yield _by_rows(file, title, [_Line(row=1, cells=list(_flat("", value, 0)))], shared=shared)
        return
    rows = {str(key): one for key, one in value.items() if isinstance(one, dict) and _is_row(one)}
    if rows:
        lines = [
            _Line(row=number, cells=[_Cell(header="name", text=key), *_flat("", one, 0)])
            for number, (key, one) in enumerate(rows.items(), 1)
        ]
        yield _by_rows(file, title, lines, shared=[*shared, *plain])
    inner = {key: one for key, one in value.items() if isinstance(one, dict | list) and str(key) not in rows}
    found = bool(rows)
    for key, one in inner.items():
        for table in _tables(file, f"{title} {key}".strip(), one, [*shared, *plain], depth + 1):
            found = True
            yield table
    if not found and not depth and _is_row(value):
        yield _by_rows(file, title, [_Line(row=1, cells=plain)])


def _is_plain(value: object) -> bool:
    return isinstance(value, str | Decimal)


def _is_row(value: dict) -> bool:
    """Whether an object is the figures of one series, and no table of several."""
    return any(_is_plain(one) and read_name(str(key)).metric.stat for key, one in value.items())


def _flat(prefix: str, value: dict, depth: int) -> Iterator[_Cell]:
    for key, one in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(one, dict) and depth < _MAX_DEPTH:
            yield from _flat(name, one, depth + 1)
        elif _is_plain(one):
            yield _Cell(header=name, text=_text(one))


def _text(value: object) -> str:
    # An exponent of many digits would be written out in as many zeros.
    return format(value, "f") if isinstance(value, Decimal) and abs(value.adjusted()) < 30 else str(value)


# --- our own results.json ----------------------------------------------------------------------


def _own(file: str, results: Results) -> list[Table]:
    cards = [_card(file, number, card) for number, card in enumerate(results.scorecards, 1)]
    measured_runs = [run for run in results.runs if run.counted and run.number]
    rows = [_run(run) for run in measured_runs]
    return [*cards, Table(file=file, name="runs", series=_grouped(rows), deltas=[])]


def _card(file: str, number: int, card: Scorecard) -> Table:
    """Take a scorecard as it stands; points stay points, since its record tells them from per cent."""
    figures: dict[str, dict[Metric, Figure]] = {variant: {} for variant in card.variants}
    deltas = []
    for row in card.rows:
        metric = read_name(row.name).metric
        for variant, cell in row.cells.items():
            if cell.value is not None:
                figures[variant][metric] = _printed(cell.value, row.unit, number, row.name)
        pair = [figures[variant].get(metric) for variant in (card.first, card.last)]
        if row.delta is not None and row.unit != "%" and pair[0] is not None and pair[1] is not None:
            told = [_printed(row.delta.absolute, row.unit, number, row.name)]
            if row.delta.relative is not None:
                told.append(_printed(row.delta.relative, "%", number, row.name))
            deltas.append(Delta(metric=row.name, figures=told, pairs=[(pair[0], pair[1])]))
    for variant in card.variants:
        figures[variant][Metric(stat="runs")] = _printed(card.sessions[variant], "", number, "sessions")
        figures[variant][Metric(stat="count")] = _printed(card.requests[variant], "", number, "requests")
    return Table(
        file=file,
        name=card.experiment,
        series=[Series(name=variant, figures=figures[variant]) for variant in card.variants],
        deltas=deltas,
        text=card.title.lower(),
    )


def _run(run: RunFigures) -> Series:
    """Take a run's latency; whether it was saturated, the judge has decided with more than these figures."""
    row, latency = run.position, run.latency
    figures = {Metric(stat="count"): _printed(latency.count, "", row, "count")}
    stats = {name: name for name in ("mean", "stdev", "max")}
    for name, stat in (stats | {name: f"p{level:g}" for name, level in PERCENTILES.items()}).items():
        figure = latency_figure(latency, name)
        if figure is not None:  # the report does not show the others
            figures[Metric(stat=stat)] = _printed(figure, "ms", row, name)
    return Series(
        name=run.key,
        figures=figures,
        run=True,
        group=f"{run.experiment} {run.side}",
    )


def _printed(value: float, unit: str, row: int, column: str) -> Figure:
    return read_figures(format(Decimal(repr(value)), "f"), row, column, unit)[0]
