"""What the verbs do when things are not as they should be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
from ironbench.collect import cgroup
from ironbench.host import proc
from ironbench.records import SCHEMA, CoreLayout, Expectation, HostCommands, Service

from .conftest import POSTGRESQL, Bench, show, systemctl, until

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
    assert bench("describe") == facts


def test_prepare_starts_what_is_stopped_and_the_variant_alone(bench):
    systemctl("stop", POSTGRESQL)
    systemctl("start", "bench-test-app@baseline.service")
    bench("prepare")
    assert show(POSTGRESQL, "ActiveState") == "active"
    assert show("bench-test-app@baseline.service", "ActiveState") == "inactive"
    assert show("bench-test-app@final.service", "ActiveState") == "active"


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
    with tarfile.open(answer["archive"]) as archive:
        archive.extractall(tmp_path / "raw")
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
    with tarfile.open(bench("collect")["archive"]) as archive:
        archive.extractall(tmp_path / "raw")
    assert (tmp_path / "raw/journal.txt").exists()
    after = json.loads((tmp_path / "raw/after.json").read_text())
    assert after["observers"] == {bench.unit("sar"): "active", bench.unit("sampler"): "failed"}


def test_a_generator_that_is_killed_is_told_by_its_signal(bench):
    bench("prepare")
    bench("load")
    systemctl("kill", "--signal=SIGKILL", bench.unit("load"))
    assert bench("collect")["generator_exit"] == -9


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
        assert show(moved.unit(kind), "RuntimeMaxUSec") == "1min 26s"
