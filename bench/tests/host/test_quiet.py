"""The rest of the host is kept off the bench's CPUs and gets them back, also when nobody is left to ask for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ironbench.host.quiet import LEASE, SLICES, STATE, UNTIL

from .conftest import show, systemctl, until

TIMERS = ("apt-daily.timer", "dpkg-db-backup.timer")
PATIENCE_S = 60.0
"""For a unit's end, an interpreter's start and a dozen calls of systemctl on a machine with other work."""
STOPPED = "systemd-tmpfiles-clean.timer"


def affinities() -> dict[str, str]:
    """CPUs of each interrupt, of the processes in the slices, and what the slices are allowed."""
    found = {str(path): path.read_text() for path in Path("/proc/irq").glob("*/smp_affinity_list")}
    found |= {name: show(name, "AllowedCPUs") for name in SLICES}
    return found | {"PID 1": str(sorted(os.sched_getaffinity(1)))}


@pytest.fixture
def before(bench):
    """Two timers run, a third one does not; all else as it is."""
    systemctl("reset-failed")  # the starts of the tests before
    ran = [unit for unit in (*TIMERS, STOPPED) if show(unit, "ActiveState") == "active"]
    systemctl("start", *TIMERS)
    systemctl("stop", STOPPED)
    yield affinities()
    bench.call("unquiet")
    systemctl("reset-failed")
    for unit in (*TIMERS, STOPPED):
        systemctl("start" if unit in ran else "stop", unit)


def states() -> dict[str, str]:
    return {unit: show(unit, "ActiveState") for unit in (*TIMERS, STOPPED)}


AS_BEFORE = {**dict.fromkeys(TIMERS, "active"), STOPPED: "inactive"}


def is_back(before: dict[str, str]) -> bool:
    return not STATE.exists() and states() == AS_BEFORE and affinities() == before


def test_what_can_be_done_is_done_and_the_rest_is_told(bench, before):
    answer = bench("quiet")
    steps = answer["steps"]
    assert set(states().values()) == {"inactive"}
    assert {unit: steps[unit]["ok"] for unit in TIMERS} == dict.fromkeys(TIMERS, True)
    assert STOPPED not in steps
    assert answer["shared"] == [0]  # of the packed layout
    contained = subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False).returncode == 0
    cpuset = "cpuset" in Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    for name in SLICES:
        assert steps[name]["ok"] == cpuset, steps[name]
        assert cpuset or "not controllable here" in steps[name]["reason"]
    if contained:
        assert "the whole machine's" in steps["interrupts"]["reason"]
    if contained and not cpuset:
        assert affinities() == before
    assert bench("describe")["quiet"] == answer
    assert bench("unquiet") == {"put_back": True}
    assert is_back(before)
    assert bench("unquiet") == {"put_back": False}
    assert bench("describe")["quiet"] is None


def test_the_second_plan_still_knows_what_the_first_one_found(bench, before):
    assert bench("quiet") == bench("quiet")
    bench("unquiet")
    assert is_back(before)


def test_plans_may_follow_each_other_faster_than_systemd_lets_units_start(bench, before):
    for _ in range(7):
        bench("quiet")
        assert bench("unquiet") == {"put_back": True}
    assert is_back(before)


def test_a_kill_of_the_lease_itself_puts_everything_back(bench, before):
    bench("quiet")
    assert show(LEASE, "ActiveState") == "active"
    # Not its whole unit: systemd 257 does that by cgroup.kill, and recent kernels then kill what the unit starts next too.
    systemctl("kill", "--signal=SIGKILL", "--kill-whom=main", LEASE)
    until(lambda: is_back(before), "everything put back", PATIENCE_S)


def test_a_lease_that_is_not_renewed_ends_by_itself(bench, before):
    script = (
        "import ironbench.host.quiet as q, sys; from pathlib import Path; from ironbench.files import read_record;"
        "from ironbench.records import Host; q.LEASE_S = 1.0; q.quiet(read_record(Path(sys.argv[1]), Host))"
    )
    subprocess.run([sys.executable, "-c", script, str(bench.description)], check=True, timeout=60)
    until(lambda: is_back(before), "everything put back", PATIENCE_S)


def test_a_session_renews_the_lease(bench, before):
    bench.hold(quiet=True)
    UNTIL.write_text(f"{float(UNTIL.read_text()) - 800}\n")
    soon = float(UNTIL.read_text())
    bench("ready")
    assert float(UNTIL.read_text()) > soon + 700
    bench("unquiet")
    assert is_back(before)


def test_it_survives_the_death_of_who_asked_for_it(bench, before):
    ironbench = Path(sys.executable).with_name("ironbench")
    with subprocess.Popen(
        [str(ironbench), "host", "quiet", "--host", str(bench.description)], stdout=subprocess.DEVNULL
    ) as asked:
        until(STATE.exists, "the state from before")
        os.kill(asked.pid, signal.SIGKILL)
    assert bench("unquiet") == {"put_back": True}
    assert is_back(before)
