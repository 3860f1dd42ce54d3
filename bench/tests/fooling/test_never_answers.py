"""A service that leaves requests unanswered, so that only its fast answers have a latency."""

import pytest
from ironbench.ingest import merge_distributions, read_distribution
from ironbench.metrics import METRICS
from ironbench.report import compute

from tests.made import due, experiment, new_bundle, plan, study

from .real_load import make_load, seal_load, serving

LENGTH = {"window_s": 2.2, "rate": 60.0}
"""Enough for a sample of sar's, which is made for another window."""
LATENCIES = [name for name in METRICS if name.startswith("latency_")]


@pytest.fixture
def compared(tmp_path):
    """Seal a baseline that answers each request after 150 ms, and a final variant that answers as ``path``."""

    def compared(path, **changes):
        asked = experiment(rate=100.0, variants=["baseline", "final"])
        bundle = new_bundle(tmp_path, plan("short", of=study(experiments={"me": asked})))
        with serving() as url:
            outs = {
                "baseline": make_load(tmp_path / "late", url, "/nap", connections=20, **LENGTH)
                and tmp_path / "late",
                "final": make_load(tmp_path / "never", url, path, **LENGTH, **changes) and tmp_path / "never",
            }
        runs = {}
        while (run := due(bundle)) is not None:
            runs[run.variant] = seal_load(bundle, tmp_path, outs[run.variant])
            assert not runs[run.variant].instrument_faults
        return runs, compute(bundle)

    return compared


def test_who_never_answers_is_not_faster_than_who_answers_late(compared):
    runs, results = compared("/after/1/silent")

    for name in LATENCIES:
        late, never = (METRICS[name].figure(runs[variant]) for variant in ("baseline", "final"))
        assert late is not None or name in ("latency_p99", "latency_p90"), name
        assert never is None or late is None or never > late, name
    rows = {row.name: row.cells for row in results.scorecards[0].rows}
    assert rows["Mean latency"]["final"].value > rows["Mean latency"]["baseline"].value
    for name in ("P90", "P99", "StdDev", "Max latency"):
        assert rows[name]["final"].value is None, name
    # What the report draws ends where nobody knows.
    curves = {curve.side: curve for curve in results.curves}
    assert "final" not in curves
    # Second by second too: no request that was given up is missing.
    assert runs["final"].load.seconds[0].count == runs["final"].load.errors["timeout"] > 0


def test_a_slow_request_is_not_got_rid_of_by_not_answering_it(compared):
    """Every fourth request is left alone; the others are answered at once, so P90 would be theirs."""
    runs, results = compared("/every/4/silent", connections=40)

    latency = runs["final"].load.latency
    given_up = runs["final"].load.errors["timeout"]
    assert latency.count == runs["final"].load.completed + given_up
    assert METRICS["latency_p50"].figure(runs["final"]) == pytest.approx(latency.p50)
    assert METRICS["latency_p90"].figure(runs["final"]) is None
    assert METRICS["latency_max"].figure(runs["final"]) is None
    assert latency.mean > 500 * given_up / latency.count
    (curve,) = (one for one in results.curves if one.side == "final")
    assert curve.shares[-1] <= 1 - given_up / latency.count


def test_merging_by_count_does_not_lose_them(compared, tmp_path):
    runs, _ = compared("/every/4/silent", connections=40)
    (alone,) = [path.parent for path in (tmp_path / "results").rglob("run.json") if "final" in str(path)]
    one = read_distribution(alone / "raw")
    merged = merge_distributions([one, one])
    load = runs["final"].load
    assert merged.count == 2 * (load.completed + load.errors["timeout"])
    assert merged.mean == pytest.approx(load.latency.mean)
    assert merged.censored == 2 * runs["final"].load.errors["timeout"]
