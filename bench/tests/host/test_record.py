"""py-spy at a real server under a real load: which process, on which CPUs, and what it leaves."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.flame.stacks import parse
from ironbench.host import proc
from ironbench.host.one_worker import NAME, RUNTIME
from ironbench.host.record import PY_SPY
from ironbench.records import Recorded, Recording, SpyMode

from .conftest import Bench, describe_host, describe_session, show, unpack, until

APP = "bench-test-app@final.service"
MODES: list[SpyMode] = ["published", "none", "idle", "native"]
replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def recorded(machine, tmp_path_factory):
    """Record one session of 4 s a mode; return the record, the stacks by mode, and the app's CPUs meanwhile."""
    if not PY_SPY.exists():
        pytest.skip(f"needs {PY_SPY} (role py_spy)")
    directory = tmp_path_factory.mktemp("recorded")
    host = describe_host(directory / "state")
    assert host.commands is not None
    commands = replace(host.commands, one_worker={"BENCH_TEST_WORKERS": "1"})
    # Beside the app, as the roles lay it out; the units' own CPU is 1.
    session = replace(
        describe_session(),
        window_s=30,
        expected_s=34,
        recording=Recording(hz=50, seconds=4, modes=MODES),
    )
    bench = Bench(directory, replace(host, commands=commands), session)
    try:
        bench.free()
        bench.hold()
        bench("prepare")
        environment = Path(f"/proc/{show(APP, 'MainPID')}/environ").read_bytes()
        cpus = show(APP, "CPUAffinity")
        bench("load")
        answer = bench("record")
        collected = bench("collect")
    finally:
        bench.call("stop")
        bench.free()
    unpack(collected, directory / "raw")
    record = msgspec.json.decode((directory / "raw/recording.json").read_bytes(), type=Recorded)
    stacks = {
        path.name.split(".")[0]: parse(path.read_text(), path.name)
        for path in (directory / "raw").glob("*.folded")
    }
    return record, stacks, answer, (environment, cpus)


def test_each_mode_is_recorded_but_the_one_without_py_spy(recorded):
    record, stacks, answer, _ = recorded
    assert [segment.mode for segment in record.segments] == MODES
    assert [segment.complaint for segment in record.segments] == [""] * 4
    assert set(stacks) == {"published", "idle", "native"}
    assert {mode: counts.total() for mode, counts in stacks.items()} == {
        mode: count for mode, count in answer["samples"].items() if mode != "none"
    }


def test_modes_follow_each_other_and_last_as_long_as_asked(recorded):
    record = recorded[0]
    for segment in record.segments:
        assert segment.until_ns - segment.from_ns >= 4e9
    for before, after in zip(record.segments, record.segments[1:], strict=False):
        assert before.until_ns <= after.from_ns


def test_the_stacks_are_the_servers(recorded):
    _, stacks, _, _ = recorded
    assert any(re.search(r"\(http/server\.py\)", frame) for stack in stacks["idle"] for frame in stack)
    # Idle threads are seen in one mode alone: a server that answers 30 small requests a second mostly waits.
    assert stacks["idle"].total() > stacks["native"].total()


def test_cpu_time_is_counted_for_app_and_py_spy(recorded):
    for segment in recorded[0].segments:
        assert segment.app_cpu_ms > 0
        assert 0 <= segment.ended_cpu_ms <= segment.app_cpu_ms
        assert (segment.spy_cpu_ms > 0) == (segment.mode != "none")


def test_the_app_had_one_worker_on_one_cpu_and_has_its_own_again(recorded):
    record, _, _, (environment, cpus) = recorded
    assert b"BENCH_TEST_WORKERS=1" in environment.split(b"\0")
    assert cpus == "1"
    assert (record.app_cpus, len(record.pids)) == ("1", 1)
    assert not list(RUNTIME.glob(f"bench-test-app@*.service.d/{NAME}"))


def test_workers_are_not_their_supervisor(machine):
    unit = "bench-test-supervisor.service"
    child = "import time; time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    subprocess.run(["systemd-run", "--quiet", f"--unit={unit}", sys.executable, "-c", script], check=True)
    try:
        cgroup = proc.unified_mount() / show(unit, "ControlGroup").lstrip("/")
        until(lambda: len(proc.cgroup_pids(cgroup)) == 2, "the child")
        (found,) = proc.workers(cgroup)
        assert found != int(show(unit, "MainPID"))
    finally:
        subprocess.run(["systemctl", "stop", unit], check=True)
