"""What the verbs do when things are not as they should be."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.collect import cgroup
from ironbench.host import awake, proc
from ironbench.host.turn import Turn
from ironbench.records import SCHEMA, CoreLayout, Expectation, ExperimentCell, HostCommands, Service

from .conftest import POSTGRESQL, Bench, show, systemctl, unpack, until

replace = msgspec.structs.replace


def changed(bench: Bench, directory: Path, **fields) -> Bench:
    return Bench(directory, replace(bench.host, **fields), bench.session)


def short(bench: Bench, directory: Path) -> Bench:
    """Return the same bench with a session too short to measure with."""
    return Bench(directory, bench.host, replace(bench.session, warmup_s=0.1, idle_s=0.1, window_s=0.5))


def test_describe_tells_of_this_host_and_the_same_twice(bench):
    systemctl("start", POSTGRESQL)
    facts = bench("describe")
    assert facts["cpu_count"] == os.cpu_count()
    assert len(facts["topology"]) == os.cpu_count()
    assert facts["kernel"].split()[1] == os.uname().release
    assert facts["packages"]["sysstat"]
    assert facts["somaxconn"] == int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert facts["cgroup_version"] in ("v2", "hybrid")
    pid = show(POSTGRESQL, "MainPID")
    soft = re.search(r"Max open files\s+(\d+)", Path(f"/proc/{pid}/limits").read_text())
    assert soft
    assert facts["nofile"]["postgresql"][0] == int(soft[1])
    # The app is one of them, though a plan has none run when it asks.
    assert facts["services"] == ["app", "postgresql"]
    assert bench("describe") == facts


def test_prepare_starts_what_is_stopped_and_the_variant_alone(bench):
    systemctl("stop", POSTGRESQL)
    systemctl("start", "bench-test-app@baseline.service")
    bench("prepare")
    assert show(POSTGRESQL, "ActiveState") == "active"
    assert show("bench-test-app@baseline.service", "ActiveState") == "inactive"
    assert show("bench-test-app@final.service", "ActiveState") == "active"


def test_prepare_leaves_state_alone_that_nothing_asks_and_starts_the_variant_of_the_cell(bench, tmp_path):
    bench("prepare")
    host = replace(bench.host, commands=HostCommands(prepare=["false"]))
    experiment = replace(
        bench.session.experiment, users=0, fresh_state=False, cells={"one": ExperimentCell(variant="final")}
    )
    session = replace(bench.session, experiment=experiment, run=replace(bench.session.run, variant="one"))
    assert Bench(tmp_path, host, session)("prepare")["users"] == 0
    assert show("bench-test-app@final.service", "ActiveState") == "active"
    with_state = replace(session, experiment=replace(experiment, fresh_state=True))
    assert "commands.prepare failed" in Bench(tmp_path, host, with_state).fails("prepare")


def test_users_are_for_root_only(bench):
    bench("prepare")
    users = bench.directory / "users.jsonl"
    assert [json.loads(line)["name"] for line in users.read_text().splitlines()] == [
        "final-0",
        "final-1",
        "final-2",
    ]
    assert users.stat().st_mode & 0o777 == 0o600
    assert bench.directory.stat().st_mode & 0o777 == 0o700


def test_prepare_removes_what_a_killed_session_left(bench):
    bench("prepare")
    bench("observe")
    first = show(bench.unit("sampler"), "InvocationID")
    left = bench.directory / "load"
    left.mkdir()
    bench("prepare")
    assert not left.exists()
    assert show(bench.unit("sampler"), "ActiveState") == "inactive"
    bench("observe")
    assert show(bench.unit("sampler"), "InvocationID") != first


def test_stop_ends_everything(bench):
    bench("prepare")
    bench("observe")
    bench("load")
    stopped = bench("stop")["stopped"]
    assert set(stopped) >= {bench.unit(kind) for kind in ("sar", "sampler", "load")}
    for unit in stopped:
        assert show(unit, "ActiveState") == "inactive"
    assert "bench-test-app@final.service" in stopped
    assert bench("stop") == {"stopped": []}


def test_an_app_that_ends_gives_its_journal(bench, tmp_path):
    services = [Service(name="app", unit="bench-test-broken@{variant}.service", cpus="1")]
    error = changed(bench, tmp_path, services=services).fails("prepare")
    assert "bench-test-broken@final.service" in error
    assert "no such lever" in error


def test_an_app_that_answers_something_else_gives_the_status(bench, tmp_path):
    other = changed(bench, tmp_path, health_path="/no-such-page")
    code = (
        "import sys\n"
        "from ironbench.host import prepare\n"
        "prepare.HEALTH_DEADLINE_S = 1.0\n"
        "from ironbench.cli import main\n"
        "sys.exit(main(['host', 'prepare', '--host', sys.argv[1]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(other.description)],
        input=msgspec.json.encode(other.session),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"answered 404 at /no-such-page within 1 s" in done.stderr


def test_a_service_that_cannot_start_is_named(bench, tmp_path):
    services = [*bench.host.services, Service(name="valkey", unit="bench-test-none.service", cpus="0")]
    error = changed(bench, tmp_path, services=services).fails("prepare")
    assert "bench-test-none.service did not start" in error


def test_seeding_that_fails_or_prints_something_else_is_told_without_its_output(bench, tmp_path):
    for script, wanted in (
        ("import sys; print('{\"p\": \"hunter2\"}'); sys.exit('no database')", "failed (1): no database"),
        ("print('hunter2')", "one JSON object a user"),
        ('print(\'{"p": "hunter2"}\')', "printed 1 users, and the experiment needs 3"),
    ):
        commands = HostCommands(prepare=[sys.executable, "-c", script])
        error = changed(bench, tmp_path, commands=commands).fails("prepare")
        assert wanted in error
        assert "hunter2" not in error


def test_steps_out_of_order_are_refused(bench):
    assert "not prepared" in bench.fails("observe")
    assert "not prepared" in bench.fails("load")
    assert "no session" in bench.fails("collect")
    bench("prepare")
    assert "was not started" in bench.fails("collect")
    (bench.directory / "users.jsonl").unlink()
    assert "users.jsonl is missing" in bench.fails("load")


def test_a_key_that_leaves_the_directory_is_refused(bench, tmp_path):
    run = replace(bench.session.run, experiment="../../etc/x")
    assert "cannot be part of" in Bench(tmp_path, bench.host, replace(bench.session, run=run)).fails(
        "prepare"
    )


def test_input_that_is_no_session_is_refused(bench):
    command = [
        str(Path(sys.executable).with_name("ironbench")),
        "host",
        "prepare",
        "--host",
        bench.description,
    ]
    done = subprocess.run(command, input=b"{}", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"stdin is not a Session" in done.stderr


def test_affinity_that_is_not_as_laid_out_is_seen(bench, tmp_path):
    layout = [replace(s, cpus="0") if s.name == "app" else s for s in bench.host.services]
    changed(bench, tmp_path, services=layout)("prepare")
    units = json.loads((bench.directory / "before.json").read_text())["units"]
    app = next(unit for unit in units if unit["service"] == "app")
    assert [(a["wanted"], a["effective"], a["ok"]) for a in app["affinity"]] == [("0", "1", False)]


def test_one_thread_elsewhere_is_seen():
    """Of a process with two threads, one is moved to one CPU."""
    code = (
        "import os, sys, threading\n"
        "def other():\n"
        "    os.sched_setaffinity(0, {1}); print('moved', flush=True); sys.stdin.read()\n"
        "threading.Thread(target=other).start()\n"
    )
    everywhere = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "moved\n"
        found = proc.affinity("app", child.pid, everywhere)
        assert child.stdin
        child.stdin.close()
    assert found
    assert not found.ok
    assert "1" in found.effective.split("+")


def test_a_refused_gate_and_a_service_that_was_stopped_leave_a_journal(bench, tmp_path):
    request = replace(bench.session.experiment.request, expect=Expectation(status=418))
    session = replace(bench.session, experiment=replace(bench.session.experiment, request=request))
    odd = Bench(tmp_path, bench.host, session)
    odd("prepare")
    odd("observe")
    odd("load")
    systemctl("stop", POSTGRESQL)
    answer = odd("collect")
    systemctl("start", POSTGRESQL)
    assert answer["generator_exit"] == 3
    unpack(answer, tmp_path / "raw")
    after = json.loads((tmp_path / "raw/after.json").read_text())
    states = {unit["service"]: unit["active"] for unit in after["units"]}
    assert states == {"app": "active", "postgresql": "inactive"}
    assert POSTGRESQL.partition(".")[0] in (tmp_path / "raw/journal.txt").read_text()
    assert "418" in (tmp_path / "raw/generator.txt").read_text()


def test_an_observer_that_died_shows_in_the_snapshot(bench, tmp_path):
    bench = short(bench, tmp_path)
    bench("prepare")
    bench("observe")
    bench("load")
    systemctl("kill", "--signal=SIGKILL", bench.unit("sampler"))
    until(lambda: show(bench.unit("sampler"), "ActiveState") == "failed", "the sampler's death")
    unpack(bench("collect"), tmp_path / "raw")
    assert (tmp_path / "raw/journal.txt").exists()
    after = json.loads((tmp_path / "raw/after.json").read_text())
    assert after["observers"] == {bench.unit("sar"): "active", bench.unit("sampler"): "failed"}


def test_a_generator_that_is_killed_is_told_by_its_signal(bench):
    bench("prepare")
    bench("load")
    systemctl("kill", "--signal=SIGKILL", bench.unit("load"))
    assert bench("collect")["generator_exit"] == -9


# --- from one session to the next --------------------------------------------------------------


def the_next(bench: Bench, directory: Path) -> Bench:
    """The same bench with the session of the other variant."""
    run = replace(bench.session.run, variant="baseline", position=2)
    return Bench(directory, bench.host, replace(bench.session, run=run))


def test_several_verbs_are_done_in_their_order_with_one_session(bench):
    done = bench.call("prepare", "observe", "load", "wait")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(answer) for answer in answers] == [
        ["took_s", "users"],
        ["units"],
        ["expected_s", "unit"],
        ["generator_exit"],
    ]
    assert answers[-1] == {"generator_exit": 0}
    refused = bench.call("prepare", "stop")
    assert refused.returncode == 2
    assert "go together" in refused.stderr


def test_ready_prepares_when_nobody_has(bench):
    assert bench("ready") == {"ahead": False}
    assert show("bench-test-app@final.service", "ActiveState") == "active"
    for kind in ("sar", "sampler"):
        assert show(bench.unit(kind), "ActiveState") == "active"
    before = json.loads((bench.directory / "before.json").read_text())
    assert before["observers"].keys() == {bench.unit("sar"), bench.unit("sampler")}
    assert show(bench.unit("prepare"), "ActiveState") == "inactive"
    assert sorted(path.name for path in bench.directory.parent.iterdir()) == [bench.directory.name]


def test_turn_prepares_the_next_session_while_it_packs_this_one(bench, tmp_path):
    bench = short(bench, tmp_path)
    following = the_next(bench, tmp_path)
    bench.call("ready", "load")
    answer = bench.turn(following.session)
    assert answer["key"] == bench.session.run.key
    names = unpack(answer, tmp_path / "raw")
    assert {"load/load.json", "after.json", "sar.json"} <= set(names)
    after = json.loads((tmp_path / "raw/after.json").read_text())
    app = next(unit for unit in after["units"] if unit["service"] == "app")
    assert (app["unit"], app["active"]) == ("bench-test-app@final.service", "active"), (
        "looked at before it ended"
    )
    assert following("ready") == {"ahead": True}
    assert show("bench-test-app@final.service", "ActiveState") == "inactive"
    assert show("bench-test-app@baseline.service", "ActiveState") == "active"
    assert show(bench.unit("sampler"), "ActiveState") == "inactive"
    assert show(following.unit("sampler"), "ActiveState") == "active"
    assert following("load")["unit"] == following.unit("load")


def test_turn_again_hands_in_the_same_and_touches_nothing(bench, tmp_path):
    bench = short(bench, tmp_path)
    following = the_next(bench, tmp_path)
    bench.call("ready", "load")
    answer = bench.turn(following.session)
    following("ready")
    invocation = show("bench-test-app@baseline.service", "InvocationID")
    assert bench.turn(following.session) == answer
    assert show("bench-test-app@baseline.service", "InvocationID") == invocation


def test_what_is_handed_in_stays_until_the_next_session_is(bench, tmp_path):
    bench = short(bench, tmp_path)
    following = the_next(bench, tmp_path)
    bench.call("ready", "load")
    bench.turn(following.session)
    kept = bench.directory.with_name(f"{bench.session.run.key}.collected.json")
    assert kept.exists()
    following.call("ready", "load")
    following.turn(None)
    left = sorted(path.name for path in kept.parent.iterdir())
    assert left == [f"{following.session.run.key}.collected.json"]


def test_what_goes_wrong_in_preparing_ahead_is_told_when_the_session_is_wanted(bench, tmp_path):
    bench = short(bench, tmp_path)
    failing = HostCommands(prepare=["false"])
    broken = the_next(changed(bench, tmp_path / "broken", commands=failing), tmp_path / "broken")
    bench.call("ready", "load")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ironbench")), "host", "turn", "--host", str(broken.description)],
        input=msgspec.json.encode(Turn(schema=SCHEMA, session=bench.session, after=broken.session)),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, "this session is whole, whatever becomes of the next"
    assert "commands.prepare failed (1)" in broken.fails("ready")
    assert show(broken.unit("prepare"), "ActiveState") == "inactive"


def test_stop_ends_what_is_being_prepared_first(bench, tmp_path):
    slow = changed(bench, tmp_path, commands=HostCommands(prepare=["sleep", "600"]))
    waiting = subprocess.Popen(
        [str(Path(sys.executable).with_name("ironbench")), "host", "ready", "--host", str(slow.description)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert waiting.stdin
    waiting.stdin.write(msgspec.json.encode(slow.session))
    waiting.stdin.close()
    until(lambda: show(slow.unit("prepare"), "ActiveState") == "active", "the preparing unit")
    assert slow.unit("prepare") in slow("stop")["stopped"]
    assert waiting.wait(10) == 2, "who waits for it is told, and starts nothing"
    assert show(slow.unit("prepare"), "ActiveState") == "inactive"


def test_a_generator_that_is_stopped_is_no_end_of_a_session(bench):
    bench.call("ready", "load")
    waiting = subprocess.Popen(
        [str(Path(sys.executable).with_name("ironbench")), "host", "turn", "--host", str(bench.description)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert waiting.stdin
    waiting.stdin.write(msgspec.json.encode(Turn(schema=SCHEMA, session=bench.session, after=None)))
    waiting.stdin.close()

    def sleeps() -> bool:
        """Whether it has the descriptor of a process, and so waits for that."""
        links = Path(f"/proc/{waiting.pid}/fd").glob("*")
        return any("pidfd" in str(link.readlink()) for link in links if link.is_symlink())

    until(sleeps, "a wait for the generator")
    systemctl("stop", bench.unit("load"))
    assert waiting.wait(20) == 2
    assert waiting.stderr
    assert b"was stopped; the session is lost" in waiting.stderr.read()


def test_the_sampler_ends_by_itself_and_follows_a_unit_that_comes_and_goes(machine, tmp_path):
    path = tmp_path / "cgroup.jsonl"
    unit = "bench-test-burn.service"
    header = cgroup.Header(
        schema=SCHEMA, cgroups={"app": f"/system.slice/{unit}", "/system.slice": "/system.slice"}, cpus=[0, 1]
    )
    path.write_bytes(msgspec.json.encode(header) + b"\n")
    mount = proc.unified_mount()
    sampler = [sys.executable, "-m", "ironbench.host.sampler", str(path), str(mount), "3"]
    burn = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.25)"
    with subprocess.Popen(sampler) as child:
        until(lambda: path.read_bytes().count(b"\n") > 2, "a sample")
        for _ in range(2):
            run = ["systemd-run", "--quiet", "--wait", f"--unit={unit}", sys.executable, "-c", burn]
            subprocess.run(run, check=True)
        assert child.wait(10) == 0
    samples = cgroup.read(path)
    assert samples.usage["app"][0] is None
    assert 500_000 < (samples.usage["app"][-1] or 0) < 900_000


def test_a_layout_is_where_the_observers_run(bench, tmp_path):
    layout: CoreLayout = replace(bench.host.layout, housekeeping="1")
    moved = changed(bench, tmp_path, layout=layout)
    moved("prepare")
    moved("observe")
    for kind in ("sar", "sampler"):
        pid = int(show(moved.unit(kind), "MainPID"))
        assert os.sched_getaffinity(pid) == {1}
        assert show(moved.unit(kind), "RuntimeMaxUSec") == "1min 30s"


def longest_wake_us() -> int:
    """What the kernel allows a CPU to take to wake, of all that is asked for at this moment."""
    return struct.unpack("i", awake.DEVICE.read_bytes()[:4])[0]


@pytest.mark.skipif(not awake.DEVICE.exists(), reason="this host has no /dev/cpu_dma_latency")
def test_cpus_are_kept_awake_for_a_session_and_no_longer(bench, tmp_path):
    kept = changed(short(bench, tmp_path / "short"), tmp_path / "kept", keep_awake=True)
    kept("prepare")
    before = longest_wake_us()
    kept("observe")
    until(lambda: longest_wake_us() == 0, "polling CPUs")
    kept("load")
    unpack(kept("collect"), tmp_path / "raw")
    assert longest_wake_us() == before != 0
    after = json.loads((tmp_path / "raw/after.json").read_text())
    assert after["observers"][kept.unit("awake")] == "active"
    assert kept("describe")["kept_awake"] == "yes"
    assert bench("describe")["kept_awake"] == "no"
