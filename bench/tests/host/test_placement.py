"""The placement service as a unit: one machine plays both, the app's host and the generator's."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import msgspec
import pytest
from ironbench.records import LoadResult

from .conftest import Bench, describe_host, describe_session, show, systemctl, unpack, until

replace = msgspec.structs.replace
PORT = 18472
TOKEN = "token-of-this-session"


@pytest.fixture
def hosts(machine, tmp_path):
    """Describe the app's host and the generator's; what the first one needs from the playbook is done."""
    session = replace(describe_session(), placement_token=TOKEN)
    here = replace(describe_host(tmp_path / "app-state"), placement_port=PORT)
    app = Bench(tmp_path / "app", replace(here, groups=["app", "database"]), session)
    there = replace(here, groups=["load_generators"], state_dir=str(tmp_path / "load-state"))
    generator = Bench(tmp_path / "load", replace(there, services=[], commands=None), session)
    app.free()
    app.hold()
    generator("prepare")  # first: it ends what other sessions left, and this is one machine
    app("prepare")
    shutil.copy(app.directory / "users.jsonl", generator.directory)
    yield app, generator
    app.call("stop")
    app.free()


def test_the_generator_is_told_where_its_connections_are_by_the_apps_host(hosts, tmp_path):
    app, generator = hosts
    unit = app.unit("placement")
    assert unit in app("observe")["units"]
    assert os.sched_getaffinity(int(show(unit, "MainPID"))) == {0}
    assert show(unit, "RuntimeMaxUSec") == show(app.unit("sampler"), "RuntimeMaxUSec")
    duty = app.directory / "placement.json"
    assert duty.stat().st_mode & 0o777 == 0o600
    command = Path(f"/proc/{show(unit, 'MainPID')}/cmdline").read_bytes()
    assert TOKEN.encode() not in command
    worker = show("bench-test-app@final.service", "MainPID")
    generator("load")
    until(lambda: show(generator.unit("load"), "SubState") == "exited", "the generator's end", 60)
    for file in ("load.json", "background/load.json"):
        raw = (generator.directory / "load" / file).read_bytes()
        landing = msgspec.json.decode(raw, type=LoadResult).landing
        assert landing
        assert (landing.workers, landing.workers_after, landing.unknown) == ({worker: 2}, {worker: 2}, "")
    spec = json.loads((generator.directory / "spec.json").read_text())
    assert spec["placement_service"] == {"port": PORT, "token": TOKEN}

    names = unpack(app("collect"), tmp_path / "raw")
    assert show(unit, "ActiveState") == "inactive"
    assert "placement.json" not in names
    assert not any(
        TOKEN.encode() in path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()
    )


def test_stop_ends_it(hosts):
    app, _ = hosts
    app("observe")
    assert app.unit("placement") in app("stop")["stopped"]
    assert show(app.unit("placement"), "ActiveState") == "inactive"


def test_a_port_that_is_taken_is_told_with_the_variable(hosts):
    app, _ = hosts
    with socket.create_server(("127.0.0.1", PORT)):
        assert "set bench_placement_port to a free one" in app.fails("observe")


def test_it_dies_with_its_time_and_is_no_observer(hosts):
    """What it does not tell is not recorded; that makes no run invalid."""
    app, _ = hosts
    app("observe")
    systemctl("kill", "--signal=SIGKILL", app.unit("placement"))
    until(lambda: show(app.unit("placement"), "ActiveState") == "failed", "its death")
    before = json.loads((app.directory / "before.json").read_text())
    assert app.unit("placement") not in before["observers"]


def test_a_host_with_both_has_no_need_of_it(bench):
    session = replace(bench.session, placement_token=TOKEN)
    both = Bench(bench.directory.parents[1], replace(bench.host, placement_port=PORT), session)
    both("prepare")
    assert len(both("observe")["units"]) == 2
