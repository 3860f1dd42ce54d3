"""A plan with the backend wrk2 from its making to its report.

The load is real: a stand-in (load/standin_wrk2.py) against a server (load/server.py), run as the host's unit
runs it. What the observers of the host would have written is made, for the time at which the load was.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.cli import main as ironbench
from ironbench.collect.wrk2 import parse
from ironbench.files import read_record
from ironbench.host.generate import make_spec
from ironbench.host.place import Place
from ironbench.load import wrk2
from ironbench.plan import make_session
from ironbench.records import Expectation, LoadResult, RequestTemplate, Results

from .made import START, due, experiment, host, plan, replace, reseal, snapshot, study, write_raw

HERE = Path(__file__).parent / "load"
OBSERVED_DIED = {"ironbench-sar.service": "failed", "ironbench-cgroup.service": "active"}


@pytest.fixture
def url():
    command = [sys.executable, HERE / "server.py", "127.0.0.1", "0", "0", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture
def bundle(tmp_path):
    """Plan two variants, once each."""
    request = RequestTemplate(method="GET", path="/echo?{unique}", expect=Expectation(status=200))
    asked = experiment(rate=40.0, request=request, variants=["baseline", "final"], users=0)
    asked = replace(asked, load=replace(asked.load, backend="wrk2"))
    made = plan("short", of=study(experiments={"me": asked}))
    made = replace(made, warmup_s=1, window_s=2)
    return bundles.create(tmp_path / "results", made, study(), tmp_path)


@pytest.fixture
def seal(bundle, tmp_path, url, monkeypatch):
    """Make the load of the pending run, and seal it; return the run and the output of wrk2, if it ran."""
    program = tmp_path / "wrk2"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "standin_wrk2.py"} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(wrk2, "PROGRAM", program)

    def seal(expected_code=0, **observed):
        run = due(bundle)
        session = make_session(bundles.read_plan(bundle), run)
        raw = write_raw(tmp_path / "raw" / run.key, session, **observed)
        spec = make_spec(Place(replace(host(), base_url=url), session))
        file = tmp_path / "spec.json"
        file.write_bytes(msgspec.json.encode(spec))
        out = raw / "box/load"
        shutil.rmtree(out)
        assert ironbench(["load", "--spec", str(file), "--out", str(out)]) == expected_code
        shift(out / "load.json")
        log = (out / wrk2.LOG).read_bytes() if (out / wrk2.LOG).exists() else b""
        return bundles.seal(bundle, raw, started_ns=None), log

    return seal


def shift(file):
    """Put a run to the time that the observers' files are of."""
    result = read_record(file, LoadResult)
    names = ("idle_from_ns", "idle_until_ns", "first_send_ns", "window_end_ns", "drained_ns")
    by = START - result.idle_until_ns
    if result.idle_until_ns:
        result = replace(result, **{name: getattr(result, name) + by for name in names})
    file.write_bytes(msgspec.json.encode(result))


def report(bundle):
    assert ironbench(["report", str(bundle)]) == 0
    return read_record(bundle / "results.json", Results)


def test_a_plan_is_measured_sealed_and_reported(bundle, seal, capsys):
    logs = {}
    while planned := due(bundle):
        run, logs[planned.variant] = seal()
        assert (run.load.backend, run.instrument_faults, run.outcomes) == ("wrk2", [], [])
        assert run.load.first_send_ns < run.load.drained_ns
        app = next(cpu for cpu in run.cpu if cpu.service == "app")
        assert app.per_request_ms == pytest.approx(app.net_ms / run.load.completed)
    results = report(bundle)

    (card,) = results.scorecards
    rows = {row.name: row.cells for row in card.rows}
    for variant, log in logs.items():
        told = parse(log, "wrk2.log")
        assert card.requests[variant] == told.corrected.recorded
        assert rows["Mean latency"][variant].value == told.corrected.latency_ms.mean
        assert rows["Max latency"][variant].value == told.corrected.latency_ms.max
        assert rows["Achieved rate"][variant].value == told.requests_per_s
        assert rows["Errors and unexpected statuses"][variant].value == 0
    assert [run.counted for run in results.runs] == [True, True]
    assert "Mean latency" in capsys.readouterr().out


def test_a_gate_that_failed_beside_an_instrument_fault_is_sealed_and_its_block_comes_again(bundle, seal):
    """Else the session could be neither sealed nor left out, and the plan would stand still."""
    made = bundles.read_plan(bundle)
    other = replace(made.experiments["me"].request, expect=Expectation(status=418))
    changed = replace(made, experiments={"me": replace(made.experiments["me"], request=other)})
    (bundle / "plan.json").write_bytes(msgspec.json.encode(changed))
    reseal(bundle, bundle / "plan.json")
    first, log = seal(expected_code=3, after=snapshot(10, observers=OBSERVED_DIED))

    assert log == b""
    assert [fault.kind for fault in first.instrument_faults] == ["observer-died"]
    assert "gate" in [outcome.kind for outcome in first.outcomes]
    assert (bundles.run_directory(bundle, first.run) / "latency.hgrm").is_file()
    results = report(bundle)
    assert (results.sealed, results.damaged) == (1, [])
    assert results.total == 4  # the block's two runs come again


def test_a_gate_that_failed_alone_is_not_sealed(bundle, seal):
    made = bundles.read_plan(bundle)
    other = replace(made.experiments["me"].request, expect=Expectation(status=418))
    changed = replace(made, experiments={"me": replace(made.experiments["me"], request=other)})
    (bundle / "plan.json").write_bytes(msgspec.json.encode(changed))
    reseal(bundle, bundle / "plan.json")
    with pytest.raises(bundles.GateFailedError, match="does not answer as expected"):
        seal(expected_code=3)
    assert bundles.read_runs(bundle) == []
