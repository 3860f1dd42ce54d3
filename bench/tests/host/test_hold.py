"""One plan at a time on a host; what was measured and not sealed is not lost; a quiet host that ends is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.files import encode_record, read_record
from ironbench.host.holder import PATH, Lease
from ironbench.host.quiet import LEASE, STATE, UNTIL
from ironbench.ingest import read_evidence
from ironbench.judge import judge
from ironbench.records import QuietNow, Snapshot

from .conftest import Bench, show, systemctl, unpack, until
from .test_quiet import PATIENCE_S, affinities
from .test_verbs import short, the_next

replace = msgspec.structs.replace
TIMER = "apt-daily.timer"


@pytest.fixture
def other(bench, tmp_path):
    """The same host as another controller has it, with a plan of its own."""
    made = Bench(tmp_path / "other", bench.host, replace(bench.session, plan="other"))
    made.held = replace(made.held, bundle="/home/bob/results/other", controller="lap", user="bob")
    return made


@pytest.fixture
def timer(bench):
    """A timer that a quiet host stops."""
    ran = show(TIMER, "ActiveState") == "active"
    systemctl("start", TIMER)
    yield
    bench.free()
    systemctl("start" if ran else "stop", TIMER)


def before_of(bench: Bench) -> Snapshot:
    return read_record(bench.directory / "before.json", Snapshot)


def again_of(bench: Bench) -> str:
    """Why the host was made quiet again before the session."""
    quiet = before_of(bench).quiet
    assert quiet
    return quiet.again


def change_lease(**fields) -> None:
    PATH.write_bytes(encode_record(replace(read_record(PATH, Lease), **fields)))


# --- two controllers -----------------------------------------------------------------------------


def test_the_second_is_refused_with_the_name_of_the_first_and_disturbs_nothing(bench, other):
    bench.call("ready", "load")
    refused = other.fails("hold")
    assert len(refused.splitlines()) == 1
    for words in ("plan test of ada@desk (/results/test) since ", "wait", "ironbench host release --force"):
        assert words in refused, refused
    for verb in ("ready", "collect", "drop"):
        assert "plan test of ada@desk" in other.fails(verb)
    assert other("release") == {"released": False}
    for kind in ("load", "sampler", "sar"):
        assert show(bench.unit(kind), "ActiveState") == "active"
    assert show("bench-test-app@final.service", "ActiveState") == "active"


def test_without_a_hold_there_is_no_session(bench):
    assert bench("release") == {"released": True}
    assert "is not held for the plan test" in bench.fails("ready")


def test_one_that_is_over_is_taken_in_silence(bench, other):
    change_lease(until_s=0.0)
    other("hold")
    assert other("release") == {"released": True}
    bench("hold")
    change_lease(boot="another one")
    other("hold")
    assert "plan other of bob@lap" in bench.fails("hold")


def test_the_same_plan_of_another_controller_or_directory_is_another(bench):
    first = bench.held
    for fields in ({"controller": "lap"}, {"bundle": "/mnt/results/test"}):
        bench.held = replace(first, **fields)
        assert "ada@desk (/results/test)" in bench.fails("hold")
    bench.held = first
    bench("hold")


def test_who_was_taken_over_can_end_nothing_of_the_other(bench, other):
    other.free()
    other("hold")
    other.call("ready", "load")
    assert "plan other of bob@lap" in bench.fails("ready")
    assert bench("release") == {"released": False}
    assert show(other.unit("load"), "ActiveState") == "active"
    assert read_record(PATH, Lease).hold.plan == "other"


# --- what was measured is not lost ---------------------------------------------------------------


def test_what_was_packed_is_found_by_the_plan_that_goes_on(bench, other, tmp_path):
    bench = short(bench, tmp_path)
    following = the_next(bench, tmp_path)
    bench.call("ready", "load")
    answer = bench.turn(following.session)
    assert bench("hold") == {"left": answer}
    assert show(following.unit("sampler"), "ActiveState") == "inactive", "what was prepared ahead has ended"
    assert bench("hold") == {"left": answer}
    bench.free()
    assert other("hold") == {"left": None}, "of another plan"
    other.free()
    bench("hold")
    bench("drop")
    assert bench("hold") == {"left": None}, "it was lost, and that is known"


def test_a_session_that_is_under_way_is_waited_for(bench, tmp_path):
    """Its playbook is gone; the command that collects on the host goes on, and is not stopped."""
    bench = short(bench, tmp_path)
    bench.call("ready", "load")
    invocation = show(bench.unit("load"), "InvocationID")
    with subprocess.Popen(
        [
            str(Path(sys.executable).with_name("ironbench")),
            "host",
            "collect",
            "--host",
            str(bench.description),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as collecting:
        assert collecting.stdin
        collecting.stdin.write(msgspec.json.encode(bench.session))
        collecting.stdin.close()
        left = bench("hold")["left"]
        assert collecting.wait(30) == 0
    assert invocation
    assert left["key"] == bench.session.run.key
    assert "load/load.json" in unpack(left, tmp_path / "raw")


def test_a_load_that_nobody_waits_for_is_collected(bench, tmp_path):
    bench = short(bench, tmp_path)
    bench.call("ready", "load")
    left = bench("hold")["left"]
    assert "load/load.json" in unpack(left, tmp_path / "raw")
    kept = json.loads((tmp_path / "raw/session.json").read_text())
    assert (kept["plan"], kept["placement_token"]) == ("test", "")


def test_a_session_without_a_load_is_none(bench):
    bench("ready")
    assert bench("hold") == {"left": None}
    assert show(bench.unit("sampler"), "ActiveState") == "inactive"


# --- what was set for a plan or a session and ends ------------------------------------------------


def test_a_host_that_stopped_being_quiet_is_made_quiet_before_the_next_session(bench, timer):
    bench.hold(quiet=True)
    bench("ready")
    quiet = before_of(bench).quiet
    assert quiet == QuietNow(wanted=True, invocation=show(LEASE, "InvocationID"))
    systemctl("stop", LEASE)
    assert show(TIMER, "ActiveState") == "active"
    bench("ready")
    assert show(TIMER, "ActiveState") == "inactive"
    quiet = before_of(bench).quiet
    assert quiet == QuietNow(wanted=True, invocation=show(LEASE, "InvocationID"), again=f"{LEASE} had ended")
    systemctl("start", TIMER)
    bench("ready")
    assert again_of(bench) == f"{TIMER} had been undone"


def test_a_boot_is_told_as_the_reason(bench, timer):
    bench.hold(quiet=True)
    # What a boot leaves: nothing that was done at runtime, and the lease of another boot.
    systemctl("stop", LEASE)
    change_lease(boot="the one before")
    bench("ready")
    assert again_of(bench) == "the host has booted since"
    assert show(TIMER, "ActiveState") == "inactive"


@pytest.mark.parametrize("how", ["lease", "timer", "again"])
def test_a_host_that_stops_being_quiet_in_a_session_is_an_instrument_fault(bench, timer, tmp_path, how):
    bench = short(bench, tmp_path)
    bench.hold(quiet=True)
    bench.call("ready", "load")
    if how == "timer":
        systemctl("start", TIMER)
    elif how == "lease":
        UNTIL.write_text("0\n")
        systemctl("kill", "--signal=SIGTERM", LEASE)
        until(lambda: not STATE.exists(), "everything put back", PATIENCE_S)
    else:
        bench("unquiet")
        bench("quiet")
    unpack(bench("collect"), tmp_path / "raw/one")
    faults, _ = judge(read_evidence(tmp_path / "raw"))
    found = [fault.detail for fault in faults if fault.kind == "quiet-ended"]
    words = {"lease": "nothing kept the rest", "timer": TIMER, "again": "let back"}
    assert len(found) == 1, faults
    assert words[how] in found[0]


def test_a_session_of_a_quiet_host_that_lasts_has_no_such_fault(bench, timer, tmp_path):
    bench = short(bench, tmp_path)
    bench.hold(quiet=True)
    bench.call("ready", "load")
    unpack(bench("collect"), tmp_path / "raw/one")
    faults, _ = judge(read_evidence(tmp_path / "raw"))
    assert "quiet-ended" not in {fault.kind for fault in faults}


def test_a_plan_that_wants_no_quiet_host_gets_none_that_another_left(bench, timer):
    bench.hold(quiet=True)
    bench.hold(quiet=False)
    assert show(TIMER, "ActiveState") == "active"
    bench("ready")
    assert before_of(bench).quiet == QuietNow(wanted=False)


@pytest.mark.parametrize("what", ["observer", "quiet"])
def test_what_ended_after_preparing_ahead_is_prepared_again(bench, timer, tmp_path, what):
    bench = short(bench, tmp_path)
    following = the_next(bench, tmp_path)
    bench.hold(quiet=True)
    bench.call("ready", "load")
    bench.turn(following.session)
    unit = following.unit("prepare")
    until(lambda: show(unit, "SubState") == "exited", "the session after", PATIENCE_S)
    if what == "observer":
        systemctl("stop", following.unit("sampler"))
    else:
        systemctl("stop", LEASE)
    assert following("ready") == {"ahead": False}
    assert show(following.unit("sampler"), "ActiveState") == "active"
    assert show(TIMER, "ActiveState") == "inactive"
    before = before_of(following)
    assert set(before.observers.values()) == {"active"}
    assert before.quiet
    assert before.quiet.invocation == show(LEASE, "InvocationID")


def test_a_release_by_force_puts_back_at_once_what_a_killed_plan_left(bench, timer, tmp_path):
    before = affinities()
    bench.hold(quiet=True)
    bench.call("ready", "load")
    assert show(TIMER, "ActiveState") == "inactive"
    assert Bench(tmp_path / "admin", bench.host, bench.session).call("release", "--force").returncode == 0
    assert show(TIMER, "ActiveState") == "active"
    assert not STATE.exists()
    assert not PATH.exists()
    assert affinities() == before
    for kind in ("load", "sampler"):
        assert show(bench.unit(kind), "ActiveState") == "inactive"
