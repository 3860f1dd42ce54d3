"""Where the kernel allows it, everything but the bench is on the housekeeping CPUs during a plan, and nowhere else after."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from conftest import cpus
from controller import REPOSITORY

LAYOUT = yaml.safe_load((REPOSITORY / "inventory/fx8320/group_vars/all.yml").read_text())["core_layout"]
HOUSEKEEPING = cpus(LAYOUT["housekeeping"])
IRONBENCH = "/opt/ironbench/venv/bin/ironbench host"
CONFINED = ("system.slice", "user.slice", "init.scope")
LOOK = """
import json, os, pathlib
def text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
processes = {}
for path in pathlib.Path("/proc").glob("[0-9]*"):
    status, group = text(path / "status"), text(path / "cgroup")
    if "VmSize:" in status and int(path.name) != os.getpid():
        cpus = status.partition("Cpus_allowed_list:")[2].split()[0]
        processes[f"{path.name} {text(path / 'comm').strip()}"] = [group.strip().split("/")[1], cpus]
interrupts = {p.parent.name: text(p).strip() for p in pathlib.Path("/proc/irq").glob("*/smp_affinity_list")}
print(json.dumps([processes, interrupts]))
"""


class Seen(NamedTuple):
    processes: dict[str, list[str]]
    """PID and name -> top of its cgroup, CPUs of its main thread."""
    interrupts: dict[str, str]
    timers: set[str]


def look(host) -> Seen:
    timers = host.check_output("systemctl list-units --type=timer --state=active --plain --no-legend")
    return Seen(
        *json.loads(host.check_output("python3 -c %s", LOOK)),
        {line.split()[0] for line in timers.splitlines()},
    )


class Plan(NamedTuple):
    before: Seen
    during: Seen
    answer: dict
    after: Seen


@pytest.fixture(scope="module")
def plan(host) -> Plan:
    before = look(host)
    answer = json.loads(host.check_output(f"{IRONBENCH} quiet"))
    during = look(host)
    host.check_output(f"{IRONBENCH} unquiet")
    return Plan(before, during, answer, look(host))


def test_every_step_was_read_back(plan):
    steps = plan.answer["steps"]
    assert {name: steps[name]["ok"] for name in CONFINED} == dict.fromkeys(CONFINED, True), steps
    assert plan.answer["shared"] == sorted(HOUSEKEEPING & cpus(LAYOUT["cache"]))


def test_all_other_processes_are_on_the_housekeeping_cpus(plan):
    rest = {name: allowed for name, (top, allowed) in plan.during.processes.items() if top in CONFINED}
    assert rest
    assert {name: allowed for name, allowed in rest.items() if not cpus(allowed) <= HOUSEKEEPING} == {}


def test_the_bench_keeps_its_own(plan):
    ours = {name for name, (top, _) in plan.before.processes.items() if top == "bench.slice"}
    assert ours
    for name in ours:
        assert plan.during.processes[name] == plan.before.processes[name]


def test_interrupts_are_there_too_or_are_named(plan):
    elsewhere = {irq for irq, allowed in plan.during.interrupts.items() if not cpus(allowed) <= HOUSEKEEPING}
    step = plan.answer["steps"]["interrupts"]
    assert elsewhere == set(re.findall(r"\d+", step["reason"]))
    assert plan.during.interrupts != plan.before.interrupts


def test_timers_stand_still(plan):
    assert "apt-daily.timer" in plan.before.timers
    assert "apt-daily.timer" not in plan.during.timers


def test_afterwards_everything_is_as_it_was(plan):
    assert plan.after.interrupts == plan.before.interrupts
    assert plan.after.timers == plan.before.timers
    for name in plan.before.processes.keys() & plan.after.processes.keys():
        assert plan.after.processes[name] == plan.before.processes[name], name
