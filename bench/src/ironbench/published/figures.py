"""What a study's publication printed, and what its raw logs say: records, their files, and the one beside the other."""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec reads it
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec

from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA, PublishedSeries, Record
from ironbench.yaml_files import decode, read_bytes

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = "published"
TABLES_FILE = "tables.yml"
RUNS_FILE = "runs.yml"

RowName = Literal[
    "mean_ms",
    "p90_ms",
    "p99_ms",
    "stdev_ms",
    "max_ms",
    "cpu0_usr_percent",
    "cpu1_usr_percent",
    "execution_ms",
    "buffers_hit",
    "rows",
]
HALF_DIGIT = 0.005 + 1e-9
"""How far two prints with two decimals of the same latency in ms can be from it."""

# --- records -----------------------------------------------------------------------------------


class PublishedRow(Record, frozen=True, kw_only=True):
    figures: list[float]
    """In the order of the table's columns."""
    absolute: float | None = None
    """Printed difference of the last column against the first, in the row's unit; points where that is per cent."""
    relative_percent: float | None = None
    """The same in per cent of the first column."""


class PublishedTable(Record, frozen=True, kw_only=True):
    name: str
    section: str
    test: str
    columns: list[str]
    rows: dict[RowName, PublishedRow]

    def __post_init__(self) -> None:
        """Raise ValueError, which a reader turns into its own error, when a row does not fit the columns."""
        for name, row in self.rows.items():
            if len(row.figures) != len(self.columns):
                raise ValueError(
                    f"row {name} of table {self.name} has {len(row.figures)} figures for {len(self.columns)} "
                    "columns; give each column one"
                )


class Tables(Record, frozen=True, kw_only=True):
    """published/tables.yml of a study."""

    schema: int
    source: str
    tables: list[PublishedTable]

    def __post_init__(self) -> None:
        """Raise ValueError for two tables of one name."""
        _refuse_twice("table", [table.name for table in self.tables])


class LoggedRun(Record, frozen=True, kw_only=True):
    """One run's log; None where its figure is not at hand."""

    number: int
    """0: the run during which sar ran."""
    mean_ms: Annotated[float, msgspec.Meta(gt=0)]
    p90_ms: float | None = None
    p99_ms: float | None = None
    stdev_ms: float | None = None
    max_ms: float | None = None
    requests: int | None = None
    achieved_rps: float | None = None
    non_2xx: int = 0


class CpuReadings(Record, frozen=True, kw_only=True):
    """Three readings of the same sar record, per cent by CPU of the app."""

    usr_whole_record: list[float]
    """%usr of the average over all samples, load or not."""
    nonidle_whole_record: list[float]
    nonidle_in_window: list[float]
    """100 - %idle over the samples under load."""


class SarFigures(Record, frozen=True, kw_only=True):
    """The system's figures over a sar record, a sample a second; None where not at hand."""

    runq_max: float | None = None
    """Tasks in the run queue."""
    runq_mean: float | None = None
    cswch_max: float | None = None
    """Context switches per second."""
    cswch_mean: float | None = None
    idle_mean: float | None = None
    """Per cent of the app's CPUs."""


class LoggedSeries(Record, frozen=True, kw_only=True):
    """The runs behind one column of a table."""

    test: str
    variant: str
    date: dt.date
    kernel: str
    rate: float
    """Offered, requests per second."""
    connections: int
    published_run: int | None = None
    """None: in no table."""
    equal_figures: int = 0
    """How many of the printed latency figures are those of that run."""
    samples_per_run: tuple[int, int] | None = None
    """Fewest and most latency samples."""
    response_bytes: int | None = None
    p90_mean_of_runs_ms: float | None = None
    """As the raw logs give it, for comparison alone: a mean of percentiles is no percentile."""
    cpu: CpuReadings | None = None
    sar: SarFigures | None = None
    runs: list[LoggedRun]

    def __post_init__(self) -> None:
        """Raise ValueError when the runs do not fit together."""
        numbers = [run.number for run in self.runs]
        _refuse_twice(f"run of {self.name}", numbers)
        if not self.measured:
            raise ValueError(f"{self.name} has no measured run; number its runs from 1 (0 is sar's)")
        if self.published_run is not None and self.published_run not in numbers:
            raise ValueError(
                f"{self.name} published run {self.published_run}, and its runs are {', '.join(map(str, numbers))}"
            )

    @property
    def name(self) -> str:
        """How arguments of rules name the series."""
        return f"{self.test}/{self.variant}"

    @property
    def measured(self) -> list[LoggedRun]:
        """The runs that were measured, without sar's."""
        return [run for run in self.runs if run.number]


class Graph(Record, frozen=True, kw_only=True):
    """A published flame graph."""

    name: str
    samples: int
    rate_hz: int
    share_percent: dict[str, float]
    """Of all samples, by function."""


class Runs(Record, frozen=True, kw_only=True):
    """published/runs.yml of a study."""

    schema: int
    source: str
    series: list[LoggedSeries]
    graphs: tuple[Graph, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for two series, or two graphs, of one name."""
        _refuse_twice("series", [series.name for series in self.series])
        _refuse_twice("graph", [graph.name for graph in self.graphs])


class Published(Record, frozen=True, kw_only=True):
    """What a study's publication printed and logged; a bundle carries it as published.json."""

    schema: int
    source: str
    tables: list[PublishedTable]
    series: list[LoggedSeries]
    graphs: tuple[Graph, ...]


# --- reading -----------------------------------------------------------------------------------

T = TypeVar("T", Tables, Runs)


def load_published(directory: Path) -> Published | None:
    """Read ``published/`` of a study directory; None where the study has neither of the two files.

    Raises IronbenchError when one is not readable, or contradicts itself.
    """
    tables = _read(directory / DIRECTORY / TABLES_FILE, Tables)
    runs = _read(directory / DIRECTORY / RUNS_FILE, Runs)
    if tables is None and runs is None:
        return None
    sources = dict.fromkeys(one.source for one in (tables, runs) if one)
    return Published(
        schema=SCHEMA,
        source="; ".join(sources),
        tables=tables.tables if tables else [],
        series=runs.series if runs else [],
        graphs=runs.graphs if runs else (),
    )


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        raw = read_bytes(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
    what = "tables" if kind is Tables else "runs"
    record = decode(raw, kind, path, f"does not hold published {what}")
    if record.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {record.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    return record


def _refuse_twice(what: str, names: list) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"there are {times} entries for {what} {name}; keep one")


# --- series ------------------------------------------------------------------------------------


def published_series(published: Published | None) -> list[PublishedSeries]:
    """Set each series' printed mean beside its runs: which of them it is, and what all of them say."""
    return [make_series(published, series) for series in published.series] if published else []


def make_series(published: Published, series: LoggedSeries) -> PublishedSeries:
    """Set one series' printed mean beside its runs."""
    runs = [run.mean_ms for run in series.measured]
    printed = table_figure(published, series, "mean_ms")
    mean = statistics.fmean(runs)
    return PublishedSeries(
        test=series.test,
        variant=series.variant,
        date=series.date.isoformat(),
        kernel=series.kernel,
        response_bytes=series.response_bytes,
        published_ms=printed,
        runs_ms=runs,
        mean_ms=mean,
        cv=spread(runs),
        run=None
        if printed is None
        else next((r.number for r in series.measured if _same(r.mean_ms, printed)), None),
        equal_figures=series.equal_figures,
        is_mean=printed is not None and _same(mean, printed),
    )


def _same(found: float, printed: float) -> bool:
    return abs(found - printed) <= HALF_DIGIT


def spread(figures: list[float]) -> float | None:
    """Return the sample standard deviation as a part of the mean; None of fewer than two figures."""
    return statistics.stdev(figures) / statistics.fmean(figures) if len(figures) > 1 else None


def table_figure(published: Published, series: LoggedSeries, row: RowName) -> float | None:
    """Return what the first table with this series prints; None where none does."""
    for table in published.tables:
        if table.test == series.test and series.variant in table.columns and row in table.rows:
            return table.rows[row].figures[table.columns.index(series.variant)]
    return None
