"""A plan with the backend wrk2 on a host: from its making over units, seeding and observers to the report."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.cli import main
from ironbench.collect.wrk2 import parse
from ironbench.ingest import read_collected
from ironbench.load.wrk2 import LOG, PROGRAM
from ironbench.plan import make_plan, make_session, next_run
from ironbench.records import SCHEMA, Load, Protocol, Results, Study

from .conftest import Bench, describe_host, describe_session

replace = msgspec.structs.replace
STANDIN = Path(__file__).parents[1] / "load/standin_wrk2.py"


@pytest.fixture
def program(machine):
    """Have wrk2, or for the time of the test a stand-in where it would be."""
    if PROGRAM.exists():
        yield PROGRAM
        return
    pytest.importorskip("lupa", reason="the stand-in for wrk2 needs lupa")
    made = not PROGRAM.parent.exists()
    PROGRAM.parent.mkdir(exist_ok=True)
    PROGRAM.write_text(f'#!/bin/sh\nexec {sys.executable} {STANDIN} "$@"\n')
    PROGRAM.chmod(0o755)
    yield PROGRAM
    PROGRAM.unlink()
    if made:
        shutil.rmtree(PROGRAM.parent)


def test_a_plan_is_measured_sealed_and_reported(program, tmp_path, capsys):
    load = Load(rate=20, connections=2, threads=2, arrivals="wrk2-phase", backend="wrk2")
    asked = replace(describe_session().experiment, load=load, background=None, variants=["final"])
    study = Study(
        schema=SCHEMA,
        name="made",
        title="Made",
        source="a test",
        protocols={"tiny": Protocol(blocks=1, warmup_s=1, window_s=4)},
        experiments={"listing": asked},
    )
    plan = make_plan(study, "tiny", plan_id="made", seed=7, retries=0, experiments=[], variants=[])
    bundle = bundles.create(tmp_path / "results", plan, study, tmp_path)
    planned = next_run(plan, [])
    assert planned
    bench = Bench(tmp_path / "host", describe_host(tmp_path / "state"), make_session(plan, planned))
    try:
        bench.free()
        bench.hold()
        for verb in ("prepare", "observe", "load"):
            bench(verb)
        collected = bench("collect")
    finally:
        bench.call("stop")
        bench.free()
    assert collected["generator_exit"] == 0
    run = bundles.seal_collected(bundle, read_collected(msgspec.json.encode(collected)))

    log = parse((bundles.run_directory(bundle, run.run) / "raw/one/load" / LOG).read_bytes(), LOG)
    assert (run.load.backend, run.load.completed) == ("wrk2", log.requests)
    assert 60 <= log.requests <= 82
    assert run.load.cpu_ms > 0
    per_request = {cpu.service: cpu.per_request_ms for cpu in run.cpu}
    assert per_request["app"] > 0.05
    (generator,) = [cpu for cpu in run.cpu if cpu.service == "load_generator"]
    assert generator.total_ms == pytest.approx(run.load.cpu_ms, rel=0.3, abs=50)
    (system,) = run.system
    assert system.samples >= 3
    assert "observer-died" not in [fault.kind for fault in run.instrument_faults]
    assert main(["report", str(bundle)]) == 0
    capsys.readouterr()
    results = msgspec.json.decode((bundle / "results.json").read_bytes(), type=Results)
    assert (results.sealed, results.total, results.damaged) == (1, 1, [])
