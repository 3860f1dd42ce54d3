"""The runs as tables for other programs: CSV, Parquet, and the text that Go's benchstat reads."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from ironbench.cpus import parse_cpu_list
from ironbench.metrics import METRICS
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ironbench.metrics import Metric
    from ironbench.records import Finding, Results, RunFigures

Value = str | int | float | bool | datetime | None
Kind = Literal["text", "integer", "number", "flag", "time"]


class Column(Record, frozen=True, kw_only=True):
    """One column of runs.csv and runs.parquet; a run without the figure has nothing there."""

    name: str
    kind: Kind
    value: Callable[[RunFigures], Value]


def columns() -> list[Column]:
    """Return the columns in their order; those after ``outcomes`` are the metrics by name."""
    made = [
        Column(name="position", kind="integer", value=lambda run: run.position),
        Column(name="run", kind="text", value=lambda run: run.key),
        Column(name="experiment", kind="text", value=lambda run: run.experiment),
        Column(name="block", kind="integer", value=lambda run: run.block),
        Column(name="variant", kind="text", value=lambda run: run.variant),
        Column(name="again", kind="flag", value=lambda run: run.again),
        Column(name="attempt", kind="integer", value=lambda run: run.attempt),
        Column(name="number", kind="integer", value=lambda run: run.number),
        Column(name="started", kind="time", value=_started),
        Column(name="counted", kind="flag", value=lambda run: run.counted),
        Column(name="why_not", kind="text", value=lambda run: run.why_not or None),
        Column(name="requests", kind="integer", value=lambda run: run.latency.count),
        Column(name="offered_rps", kind="number", value=lambda run: run.offered_rps),
        Column(name="mhz", kind="number", value=lambda run: run.mhz),
        Column(name="placement", kind="text", value=lambda run: run.placement or None),
        Column(name="instrument_faults", kind="text", value=lambda run: _kinds(run.instrument_faults)),
        Column(name="outcomes", kind="text", value=lambda run: _kinds(run.outcomes)),
    ]
    return made + [
        Column(name=name, kind="number", value=lambda run, name=name: run.figures.get(name))
        for name in METRICS
    ]


def runs_csv(results: Results) -> str:
    """Write all sealed runs as CSV with a header, one row each; numbers at full precision.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    every = columns()
    writer.writerow([column.name for column in every])
    writer.writerows([_cell(column.kind, column.value(run)) for column in every] for run in results.runs)
    return text.getvalue()


def runs_parquet(results: Results) -> bytes | None:
    """Write the same table as Parquet; None where pyarrow is not installed (``ironbench[parquet]``).

    Its bytes depend on the version of pyarrow, unlike those of all other files.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional part, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        return None
    kinds = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("s", tz="UTC"),
    }
    every = columns()
    table = pa.table(
        {
            column.name: pa.array([column.value(run) for run in results.runs], type=kinds[column.kind])
            for column in every
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _started(run: RunFigures) -> datetime | None:
    if not run.started:
        return None
    return datetime.strptime(run.started, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def _kinds(findings: Sequence[Finding]) -> str | None:
    return " ".join(dict.fromkeys(finding.kind for finding in findings)) or None


_FORMULA = ("=", "+", "-", "@", "\t")
"""With what a cell begins that a spreadsheet computes (OWASP, CSV injection); an apostrophe before it makes it text."""


def _cell(kind: Kind, value: Value) -> str:
    if kind == "text" and isinstance(value, str):
        text = value.replace("\r", "")  # which csv does not quote
        return f"'{text}" if text.lstrip(" \n").startswith(_FORMULA) else text
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return str(value)


# --- Go's benchmark format ---------------------------------------------------------------------


def benchmarks_txt(results: Results) -> str:
    """Write the runs that count in Go's benchmark format, which benchstat reads.

    golang.org/design/14313-benchmark-format: configuration as ``key: value``, then a line a run:
    ``BenchmarkMe/variant=final-2 18000 0.35 app-cpu-ms/op ...``. The number after the last dash is, as in
    Go, that of the CPUs that the measured program may use: the app's. It has to be there, for without it
    a variant's own number, as in ``optimization-1``, would be taken for it.

    benchstat judges by the figures alone, so sides whose figures allow no verdict are left out, and said so.
    """
    lines = [f"{key}: {value}" for key, value in _configuration(results).items()]
    lines += [f"left-out: all: {reason}" for reason in results.withheld]
    lines += [f"left-out: {one.experiment}: {reason}" for one in results.conduct for reason in one.withheld]
    held_back = {(one.experiment, one.side) for one in results.conduct if one.withheld}
    counted = [
        run
        for run in results.runs
        if run.counted and run.number and not results.withheld and (run.experiment, run.side) not in held_back
    ]
    measured = {name for run in counted for name in run.figures}
    used = [metric for metric in METRICS.values() if metric.name in measured]
    lines.append("")
    lines += [
        f"Unit {_unit(metric)} better={'lower' if metric.lower_is_better else 'higher'}" for metric in used
    ]
    lines.append("")
    cpus = _app_cpus(results)
    lines += [_benchmark(run, used, cpus) for run in counted]
    return "\n".join(lines) + "\n"


def _configuration(results: Results) -> dict[str, str]:
    manifest = results.manifest
    models = [
        told["cpu_model"] for told in results.environment.values() if isinstance(told.get("cpu_model"), str)
    ]
    made = {
        "bundle": manifest.id,
        "study": manifest.study,
        "protocol": manifest.protocol,
        "commit": manifest.git.commit if manifest.git else "",
        "cpu": ", ".join(dict.fromkeys(models)),
    }
    return {key: " ".join(value.split()) for key, value in made.items() if value.strip()}


def _app_cpus(results: Results) -> int:
    """How many CPUs the app has, on the host that has the most for it."""
    return max((len(parse_cpu_list(layout.app)) for layout in results.layout.values()), default=0) or 1


def _benchmark(run: RunFigures, used: Sequence[Metric], cpus: int) -> str:
    name = f"Benchmark{_go_name(run.experiment)}/variant={_no_space(run.side)}-{cpus}"
    pairs = [f"{run.figures[metric.name]!r} {_unit(metric)}" for metric in used if metric.name in run.figures]
    return " ".join([name, str(max(1, run.latency.count)), *pairs])


def _unit(metric: Metric) -> str:
    """Name a metric's unit, as ``app-cpu-ms/op`` or ``latency-p90-ms``: no two metrics share one."""
    name = metric.name.replace("_", "-")
    if metric.unit == "CPU-ms":
        return f"{name}/op"
    if metric.unit == "CPU-ms/s":
        return f"{name}/s"
    if metric.unit == "%":
        return f"{name}-percent"
    if metric.unit == "ms":
        return f"{name}-ms"
    return name


def _go_name(experiment: str) -> str:
    """A benchmark's name starts with a capital letter, and a slash would start another key."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", experiment)
    return name[:1].upper() + name[1:]


def _no_space(text: str) -> str:
    return "_".join(text.split())
