"""A whole plan of honest and dishonest services, run on this host by the commands that the playbooks run."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import msgspec
import pytest
from ironbench import judge, withheld
from ironbench.cli import main
from ironbench.records import SCHEMA, CoreLayout, Host, HostCommands, Results, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PORT = 18473
UNIT = Path("/run/systemd/system/bench-test-service@.service")
UNIT_TEXT = f"""
[Service]
Slice=bench.slice
CPUAffinity=1
ExecStart={sys.executable} {HERE / "server.py"} %i {PORT}
"""
NEIGHBOURS = {
    "FOREIGN_CPU": "foreign work",
    "DISAGREEMENT": "and what it does to the CPUs' own account",
    "DISAGREEMENT_FLOOR": "and that once more",
    "STEAL": "time that a hypervisor took",
    "SEND_LAG_FLOOR_MS": "a generator that waits for its CPU",
}
"""Limits of instrument faults that this test sets aside. The host is a container of a machine on which other tests run,
whose work is foreign to it; runs with a fault would not count, and then no service could be called cheaper, whatever it
does. The effects that are looked for are far larger."""
FAILED_SHARE = 0.05
"""Instead of the limit for requests that failed: of a generator that had to wait for its CPU the last one stays unsent."""


def missing() -> str | None:
    """Why these tests cannot run here."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/run/systemd/system").is_dir():  # as sd_booted(3) tells
        return "needs systemd as PID 1"
    if not shutil.which("sar"):
        return "needs sysstat"
    if len(os.sched_getaffinity(0)) < 2:
        return "needs two CPUs"
    return None


def describe_host(state: Path) -> Host:
    return Host(
        schema=SCHEMA,
        name="one",
        groups=["app", "load_generators"],
        layout=CoreLayout(
            name="two",
            app="1",
            database="0",
            cache="0",
            load_generator="0",
            housekeeping="0",
            packed=False,  # the app has a CPU of its own, so latency counts
        ),
        services=[Service(name="app", unit="bench-test-service@{variant}.service", cpus="1")],
        commands=HostCommands(prepare=["/bin/true"]),
        base_url=f"http://127.0.0.1:{PORT}",
        health_path="/health",
        state_dir=str(state),
        slice="bench.slice",
    )


def ironbench(*arguments: object, stdin: bytes = b"") -> dict:
    """Run one of the controller's commands in this process; return what it prints with --json."""
    said = io.StringIO()
    with redirect_stdout(said), mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))):
        status = main([*map(str, arguments), "--json"])
    assert status == 0, (arguments, status)
    return json.loads(said.getvalue())


class Bench:
    """A host that is its own controller."""

    def __init__(self, directory: Path) -> None:
        self._results = directory / "results"
        self._description = directory / "host.json"
        self._description.write_bytes(msgspec.json.encode(describe_host(directory / "state")))

    def host(self, *verbs: str, stdin: object = None) -> bytes:
        """Run ``ironbench host``; return what it prints."""
        command = [Path(sys.executable).with_name("ironbench"), "host", *verbs, "--host", self._description]
        done = subprocess.run(command, input=json.dumps(stdin).encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, protocol: str, *more: object) -> Path:
        """Run a whole plan, as the role bench does on a host that has everything; return its bundle."""
        bundle = ironbench(
            "plan",
            "--study",
            HERE / "study",
            "--protocol",
            protocol,
            "--results",
            self._results,
            "--retries",
            1,
            *more,
        )["bundle"]
        held = {
            "schema": SCHEMA,
            "plan": Path(bundle).name,
            "bundle": bundle,
            "controller": "one",
            "user": "root",
        }
        self.host("hold", stdin=held)
        ironbench("environment", bundle, "one", stdin=self.host("describe"))
        state = ironbench("pending", bundle, "--begin")
        while not state["done"]:
            self.host("ready", "load", stdin=state["session"])
            turn = {"schema": SCHEMA, "session": state["session"], "after": state["after"]}
            state = ironbench("seal", bundle, "--host", "one", stdin=self.host("turn", stdin=turn))
            print(state["line"])
        self.host("release", stdin=held)
        return Path(bundle)


class Measured(NamedTuple):
    results: Results
    compared: dict
    """What ``ironbench compare`` prints of this plan and a shorter one."""


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Iterator[Bench]:
    """The host, with a unit for each service."""
    if reason := missing():
        pytest.skip(reason)
    UNIT.write_text(UNIT_TEXT)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    bench = Bench(tmp_path_factory.mktemp("bench"))
    try:
        yield bench
    finally:
        bench.host("release", "--force")
        subprocess.run(["systemctl", "stop", "bench-test-service@*.service"], check=True)
        UNIT.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=True)


@pytest.fixture(scope="session")
def measured(bench) -> Measured:
    """Measure all services once."""
    everything = judge.Threshold(limit=1e9, packed=1e9, reason="see NEIGHBOURS")
    with pytest.MonkeyPatch.context() as patch:
        for limit in NEIGHBOURS:
            patch.setattr(judge, limit, everything)
        patch.setattr(withheld, "FAILED_SHARE", FAILED_SHARE)
        bundle, glance = bench.run("short"), bench.run("glance", "--variant", "honest")
        ironbench("report", bundle)
        results = msgspec.json.decode((bundle / "results.json").read_bytes(), type=Results)
        return Measured(results=results, compared=ironbench("compare", bundle, glance))
