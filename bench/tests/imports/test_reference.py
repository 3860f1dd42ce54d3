"""The article's rows out of the raw logs that its author published.

The logs are not in this repository. ``IRONBENCH_REFERENCE`` names the directory that holds
``iron-track``; by default ``../shared/reference`` beside the checkout.
"""

import os
import shutil
from pathlib import Path

import pytest
from ironbench import bundle as bundles
from ironbench.importing.bundle import import_bundle
from ironbench.importing.files import read_sar, read_wrk2
from ironbench.report import compute

CHECKOUT = Path(__file__).parents[3]
REFERENCE = Path(os.environ.get("IRONBENCH_REFERENCE", CHECKOUT.parent / "shared/reference")) / "iron-track"
DESCRIPTION = CHECKOUT / "studies/iron_track/published/reference-logs.yml"

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"{REFERENCE} is absent: set IRONBENCH_REFERENCE to the published raw logs"
)

PUBLISHED = {
    # Run; mean, P90, P99, StdDev, Max in ms; CPU load of cores 0 and 1: these are the article's. The last
    # pair is not published: busy in the load window.
    "test-signup/baseline": (3, (662.76, 674.30, 679.93, 9.79, 682.50), (57.55, 57.66), (82.5, 81.8)),
    "test-signup/optimization-01": (1, (656.63, 679.93, 684.54, 24.50, 684.54), (58.29, 58.41), (83.7, 83.8)),
    "test-signup/final": (2, (601.42, 654.34, 662.02, 52.76, 661.50), (55.46, 56.51), (78.3, 80.0)),
    "test-me/baseline": (2, (3.70, 4.36, 5.27, 0.55, 7.92), (44.56, 45.12), (63.6, 64.4)),
}
HALF = 0.005 + 1e-9
"""The article has two decimals, rounded from the log's three."""


@pytest.mark.parametrize("series", PUBLISHED)
def test_latency_as_published(series):
    number, published, *_ = PUBLISHED[series]
    (path,) = (REFERENCE / series / "wrk2-logs").glob(f"run_{number}_*.txt")
    found = read_wrk2(path).corrected.latency_ms
    for name, figure in zip(("mean", "p90", "p99", "stdev", "max"), published, strict=True):
        assert abs(getattr(found, name) - figure) <= HALF, name


@pytest.mark.parametrize("series", PUBLISHED)
def test_both_readings_of_the_cpus(series):
    _, _, usr, busy = PUBLISHED[series]
    cores = read_sar(REFERENCE / series / "sar/cpu.txt", (2, 31)).cores
    assert tuple(core.usr_whole_record for core in cores[:2]) == usr
    assert tuple(round(core.busy, 1) for core in cores[:2]) == busy


def test_errors_that_the_article_does_not_mention():
    logs = sorted((REFERENCE / "test-signup/optimization-01/wrk2-logs").glob("*.txt"))
    assert [read_wrk2(path).non_2xx for path in logs] == [0, 1, 2]


def test_calibration_is_left_out_of_the_count():
    found = read_wrk2(next((REFERENCE / "test-me/baseline/wrk2-logs").glob("run_2_*")))
    assert (found.corrected.recorded, found.requests, found.duration_s) == (11994, 18000, 30.0)


def test_a_saturated_endpoint_in_seconds():
    found = read_wrk2(next((REFERENCE / "test-serialization/jsonable/wrk2-logs").glob("run_1_*")))
    assert found.corrected.latency_ms.mean == 15817.703
    assert found.corrected.latency_ms.p50 == 15802.367
    assert found.corrected.latency_ms.p999 == 23805.951


def test_the_spikes_that_the_article_quotes():
    series = {
        one.name: one for one in read_sar(REFERENCE / "test-signup/baseline/sar/system.txt", None).series
    }
    assert (series["runq-sz"].max, series["cswch/s"].max) == (10, 5335)
    assert series["runq-sz"].mean == pytest.approx(3.45)


def test_every_text_report_is_read():
    paths = [path for path in REFERENCE.glob("**/sar/*.txt") if path.name != "wrk_report.txt"]
    assert len(paths) > 20
    for path in paths:
        report = read_sar(path, None)
        assert report.samples == (0 if path.name == "disk_io.txt" else 40)
        assert bool(report.notes) == (path.name in ("disk_io.txt", "network.txt"))


@pytest.mark.skipif(not (shutil.which("sadf") and shutil.which("sar")), reason="sysstat is not installed")
def test_the_binary_file_says_what_its_text_reports_say():
    directory = REFERENCE / "test-signup/baseline/sar"
    binary = read_sar(directory / "system_profile.sar", (2, 31))
    text = [read_sar(directory / name, (2, 31)) for name in ("cpu.txt", "system.txt")]
    assert binary.cores == text[0].cores
    assert {one.name: one for one in binary.series} == {one.name: one for one in text[1].series}


def test_all_of_it_as_a_bundle(tmp_path):
    bundle = import_bundle(REFERENCE, DESCRIPTION, tmp_path, "published")
    made = compute(bundle)
    assert (made.sealed, made.total) == (19, 19)
    cards = {card.experiment: card for card in made.scorecards}
    rows = {row.name: row.cells for row in cards["signup"].rows}
    means = [rows["Mean latency"][v].value for v in ("baseline", "optimization-1", "final")]
    assert means == pytest.approx([618.32, 655.10, 606.51], abs=0.01)
    for cpu, column in enumerate(((57.55, 58.29, 55.46), (57.66, 58.41, 56.51))):
        cells = rows[f"CPU {cpu} %usr, whole sar record"]
        assert tuple(cells[v].value for v in ("baseline", "optimization-1", "final")) == column
    assert rows["Run queue in the window, max"]["baseline"].value == 10
    sealed = {run.run.key: run for run in bundles.read_runs(bundle)}
    (system,) = sealed["signup.01.baseline.sar"].system
    assert (system.host, system.samples) == ("fx8320", 30)
    assert system.runq_sz
    assert system.cswch_per_s
    assert (system.runq_sz.max_whole_record, system.cswch_per_s.max_whole_record) == (10, 5335)
    assert rows["Context switches in the window, mean"]["baseline"].value == system.cswch_per_s.mean
    saturated = [run.key for run in made.runs if any(f.kind == "saturation" for f in run.outcomes)]
    assert saturated == [f"serialization.01.jsonable{suffix}" for suffix in ("", ".run2", ".run3")]
    published = sealed["signup.01.final.run2"]
    assert published.load.latency.mean == 601.416
