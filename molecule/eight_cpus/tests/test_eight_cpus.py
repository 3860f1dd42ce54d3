"""The article's layout on hosts that have its CPUs: what /proc and the cgroups say of every process."""

from __future__ import annotations

import json

import pytest

MOMENTS = ["converge", "restart", "reload", "crash", "load"]
SERVICES = {"app": 3, "database": 6, "cache": 1}
"""Whose CPUs -> processes at least: a supervisor and two workers; PostgreSQL's own and PgBouncer; one."""
MISPLACED = {"affinity", "service-interrupted", "observer-died"}
"""Instrument faults that slowness does not cause."""


def test_the_host_has_the_articles_cpus(host):
    assert host.check_output("cat /sys/devices/system/cpu/online") == "0-7"


def test_the_kernel_has_the_articles_settings(host):
    assert host.sysctl("net.core.somaxconn") == 2048
    assert host.sysctl("vm.overcommit_memory") == 1


def test_this_host_can_confine_by_cgroup(host):
    assert "cpuset" in host.file("/sys/fs/cgroup/cgroup.controllers").content_string.split()


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_service_runs(story, moment):
    owners = [one.owner for one in story.moments[moment]]
    assert {owner: owners.count(owner) >= least for owner, least in SERVICES.items()} == dict.fromkeys(
        SERVICES, True
    ), owners


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_thread_of_every_process_has_exactly_its_cpus(story, moment, layout):
    wrong = [one for one in story.moments[moment] if set(one.cpus) != {layout[one.owner]}]
    assert wrong == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_cgroup_is_confined_to_the_same_cpus(story, moment, layout):
    wrong = [one for one in story.moments[moment] if one.allowed != layout[one.owner]]
    assert wrong == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_process_may_open_the_articles_number_of_files(story, moment):
    wrong = [one for one in story.moments[moment] if one.nofile != ["65535", "65535"]]
    assert wrong == []


def test_no_process_leaves_its_cgroups_cpus_when_it_asks(host, layout):
    """What AllowedCPUs= adds: an affinity that a process gives itself stays within."""
    main = host.check_output("systemctl show --property=MainPID --value valkey-server")
    asked = host.run(f"taskset --pid --cpu-list {layout['app']} {main}")
    assert asked.rc != 0, asked.stdout
    host.check_output(f"taskset --all-tasks --pid --cpu-list $(cat /sys/devices/system/cpu/online) {main}")
    assert host.check_output(f"grep Cpus_allowed_list /proc/{main}/status").split()[1] == layout["cache"]


def test_after_a_crash_systemd_does_what_the_unit_says(story):
    assert len(story.crashes) == 4
    for unit, crash in story.crashes.items():
        assert not crash.same_process, unit
        assert crash.state == ("failed" if crash.restart == "no" else "active"), unit


def test_a_crash_and_a_restart_give_new_processes(story):
    main = [{one.pid for one in story.moments[moment]} for moment in ("converge", "restart", "crash")]
    assert not main[0] & main[1]
    assert not main[1] & main[2]


def test_the_generator_runs_on_its_own_cpus(story, layout):
    generator = [one for one in story.moments["load"] if one.owner == "load_generator"]
    assert generator
    assert {cpus for one in generator for cpus in one.cpus} == {layout["load_generator"]}


def test_every_run_of_a_plan_is_sealed(story):
    assert story.planned == 3
    runs = [json.loads(path.read_bytes()) for path in story.bundle.glob("runs/*/*/*/run.json")]
    assert len(runs) == story.planned
    for run in runs:
        faults = [fault for fault in run["instrument_faults"] if fault["kind"] in MISPLACED]
        assert faults == [], run["run"]
        assert run["load"]["completed"] > 0, run["run"]


def test_the_bundle_says_which_layout_it_ran_on(story, host, layout):
    (path,) = story.bundle.glob("environment/*.json")
    facts = json.loads(path.read_bytes())
    assert facts["name"] == host.backend.get_hostname()
    assert facts["cpu_count"] == 8
    assert facts["cpuset"] is True
    assert not facts["layout"]["packed"]
    assert {owner: facts["layout"][owner] for owner in layout} == layout
