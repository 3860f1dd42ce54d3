"""All runs as CSV, as Parquet, and as text for benchstat."""

import csv
import io
import re
import sys
from datetime import datetime

import pytest
from ironbench.metrics import METRICS
from ironbench.report import write_report
from ironbench.report.exports import benchmarks_txt, columns, runs_csv, runs_parquet

from .made import replace

TYPES = {
    "text": str,
    "integer": int,
    "number": float,
    "flag": {"true": True, "false": False}.__getitem__,
    "time": datetime.fromisoformat,
}


def read_csv(text):
    """Read a table back by the kinds that its columns declare."""
    kinds = {column.name: column.kind for column in columns()}
    return [
        {name: TYPES[kinds[name]](cell) if cell else None for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


# --- CSV ---------------------------------------------------------------------------------------


def test_every_run_is_a_row(full):
    bundle, results, _, _ = full
    rows = read_csv((bundle / "runs.csv").read_text())
    assert [row["run"] for row in rows] == [run.key for run in results.runs]
    assert [row["position"] for row in rows] == [run.position for run in results.runs]
    for row, run in zip(rows, results.runs, strict=True):
        assert {name: row[name] for name in METRICS if row[name] is not None} == run.figures
        assert (row["counted"], row["again"]) == (run.counted, run.again)
        assert (row["why_not"] or "", row["placement"] or "") == (run.why_not, run.placement)
        assert f"{row['started']:%Y-%m-%d %H:%M:%S UTC}" == run.started
        assert row["requests"] == run.latency.count


def test_rare_percentiles_are_left_empty(full):
    for row in read_csv((full[0] / "runs.csv").read_text()):
        assert (row["latency_p99"] is None) == (row["experiment"] != "me")  # 90 and 150 requests a run


def test_ledgers_are_kinds(full):
    rows = {row["run"]: row for row in read_csv((full[0] / "runs.csv").read_text())}
    assert rows["signin.04.final"]["instrument_faults"] == "steal"
    assert rows["signin.04.final"]["why_not"] == "instrument fault: steal"
    assert rows["signup.07.baseline"]["outcomes"] == "timeouts"
    assert rows["signup.07.final"]["outcomes"] is None


def test_commas_and_quotes_survive(full):
    results = full[1]
    odd = replace(results.runs[0], why_not='a, "b"\nc', started="")
    (row,) = read_csv(runs_csv(replace(results, runs=[odd])))
    assert (row["why_not"], row["started"]) == ('a, "b"\nc', None)


# --- Parquet -----------------------------------------------------------------------------------


def test_parquet_holds_what_csv_holds(full):
    pq = pytest.importorskip("pyarrow.parquet")
    bundle = full[0]
    table = pq.read_table(bundle / "runs.parquet")
    assert table.to_pylist() == read_csv((bundle / "runs.csv").read_text())
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["position"], types["counted"], types["app_cpu_ms"]) == ("int64", "bool", "double")
    assert (types["run"], types["started"]) == ("string", "timestamp[s, tz=UTC]") or types["started"] == (
        "timestamp[ms, tz=UTC]"  # Parquet itself knows no seconds
    )


def test_without_pyarrow_one_line_says_so(full, monkeypatch):
    bundle, results, _, _ = full
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert runs_parquet(results) is None
    (bundle / "runs.parquet").write_bytes(b"of another ironbench")
    _, text = write_report(bundle)
    assert not (bundle / "runs.parquet").exists()
    assert [line for line in text.splitlines() if "runs.parquet" in line] == [
        "No runs.parquet: it needs pyarrow, which `pip install 'ironbench[parquet]'` brings."
    ]
    monkeypatch.undo()
    write_report(bundle)


# --- benchstat ---------------------------------------------------------------------------------

LINE = re.compile(r"(Benchmark[A-Z0-9_.-]\S*?)(?:-(\d+))? (\d+)((?: \S+ \S+)+)")


def read_benchmarks(text):
    """Read Go's benchmark format, as golang.org/design/14313-benchmark-format has it."""
    configuration, units, runs = {}, {}, []
    for line in text.splitlines():
        if match := LINE.fullmatch(line):
            fields = match[4].split()
            name, *parts = match[1].split("/")
            keys = dict(part.split("=", 1) for part in parts)
            runs.append(
                (name, keys, match[2], int(match[3]), dict(zip(fields[1::2], fields[::2], strict=True)))
            )
        elif match := re.fullmatch(r"Unit (\S+) (\S+)=(\S+)", line):
            units[match[1]] = (match[2], match[3])
        elif match := re.fullmatch(r"([a-z][^\sA-Z]*): (.+)", line):
            configuration[match[1]] = match[2]
        else:
            assert line == "", line
    return configuration, units, runs


def test_benchmarks_hold_the_runs_that_count(full):
    bundle, results, _, _ = full
    configuration, units, runs = read_benchmarks((bundle / "benchmarks.txt").read_text())
    counted = [run for run in results.runs if run.counted]
    assert len(runs) == len(counted) == 150
    assert configuration["bundle"] == "full"
    assert configuration["cpu"] == "Made CPU at 3.5 GHz"
    for (name, keys, cpus, requests, values), run in zip(runs, counted, strict=True):
        assert name == f"Benchmark{run.experiment.title()}"
        assert keys == {"variant": run.side}
        assert cpus == "2"
        assert requests == run.latency.count
        assert float(values["app-cpu-ms/op"]) == run.figures["app_cpu_ms"]
        assert len(values) == len(run.figures)
        assert set(values) <= set(units)
    assert units["app-cpu-ms/op"] == units["latency-p90-ms"] == ("better", "lower")
    assert units["achieved-rps"] == ("better", "higher")


def test_a_variants_number_is_no_number_of_cpus(full):
    text = (full[0] / "benchmarks.txt").read_text()
    _, _, runs = read_benchmarks(text)
    variants = {keys["variant"] for _, keys, _, _, _ in runs}
    assert variants == {"baseline", "baseline.again", "optimization-1", "final", "beyond"}
    assert "BenchmarkMe/variant=optimization-1-2 18000 " in text


def test_names_and_values_of_others_stay_one_line(full):
    results = full[1]
    odd = replace(results.runs[0], experiment="my load/é", variant="a b", counted=True)
    told = {"box": {"cpu_model": "two\nlines"}}
    text = benchmarks_txt(replace(results, runs=[odd], environment=told))
    configuration, _, ((name, keys, _, _, _),) = read_benchmarks(text)
    assert configuration["cpu"] == "two lines"
    assert (name, keys) == ("BenchmarkMy_load__", {"variant": "a_b"})
