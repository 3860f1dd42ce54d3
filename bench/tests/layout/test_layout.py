"""Advice and judgement on recorded topologies: what must be so on every machine, and what on a known one."""

import json
import os
from functools import cache
from itertools import combinations
from pathlib import Path

import msgspec
import pytest
import yaml
from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.host.topology import rows as rows_of_this_machine
from ironbench.layout.advice import FEWEST, advise, judge
from ironbench.layout.cli import text
from ironbench.layout.findings import MEASURED, OWNERS, SERVICES, findings
from ironbench.layout.topology import cpu_text, understand
from ironbench.records import CoreLayout

FIXTURES = {path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("fixtures/*.json")}
PUBLISHED = CoreLayout(
    name="fx8320", app="0-1", database="2-3", cache="4-5", load_generator="6-7", housekeeping="4-5"
)
FX = ["fx8320", "fx8320-no-siblings", "fx8320-no-caches"]


def plain(cpus, *, threads=1, per_l3=None, per_node=None, per_l2=1, slow=(), spread_siblings=True):
    """Return rows of a regular machine: ``cpus`` cores, of which so many share a cache or a node."""
    rows = []
    for core in range(cpus):
        for thread in range(threads):
            number = core + thread * cpus if spread_siblings else core * threads + thread
            rows.append((number, core))
    members = dict(rows)

    def share(core, size):
        return cpu_text(n for n, c in members.items() if c // size == core // size)

    return [
        {
            "cpu": str(number),
            "thread_siblings": share(core, 1),
            "l2": share(core, per_l2),
            "l3": share(core, per_l3 or cpus),
            "node": str(core // (per_node or cpus)),
            "max_khz": "3000000" if core in slow else "4000000",
        }
        for number, core in sorted(rows)
    ]


MADE = {
    **{f"{cores} cores": plain(cores) for cores in range(1, 13)},
    **{f"{cores} cores of 2 threads": plain(cores, threads=2) for cores in range(1, 11)},
    "3 cores of 4 threads": plain(3, threads=4),
    "1 core of 8 threads": plain(1, threads=8),
    "6 cores, 3 by L3": plain(6, threads=2, per_l3=3),
    "9 cores, 3 by L3": plain(9, per_l3=3),
    "2 sockets of 16 cores": plain(32, threads=2, per_l3=16, per_node=16),
    "4 cores, all with one L2": plain(4, per_l2=4),
    "8 cores, 4 by L2": plain(8, per_l2=4),
    "8 modules on 2 nodes": plain(8, threads=2, per_l3=4, per_node=4, spread_siblings=False),
    "64 cores, 8 by L3, 2 nodes": plain(64, threads=2, per_l3=8, per_node=32),
    "8 cores on 4 nodes": plain(8, per_l3=2, per_node=2),
    "2 fast cores, 8 slow ones": plain(10, slow=range(2, 10), per_l2=1),
    "6 fast cores, 8 slow ones": plain(14, slow=range(6, 14)),
    "4 fast cores, 1 slow one": plain(5, slow=[4]),
}


def offline(rows, *gone):
    return [row for row in rows if int(row["cpu"]) not in gone]


RECORDED = {name: told["topology"] for name, told in FIXTURES.items()}
ALL = {
    **RECORDED,
    **{f"{name}, CPU 1 offline": offline(rows, 1) for name, rows in RECORDED.items()},
    **{
        f"{name}, CPU 0, 3 and 4 offline": offline(rows, 0, 3, 4)
        for name, rows in RECORDED.items()
        if len(rows) > 4
    },
    **MADE,
}


def topology(name):
    model = FIXTURES[name]["cpu_model"] if name in FIXTURES else "a machine"
    return understand(model, ALL[name])


@cache
def advised(name):
    return advise(topology(name))


def lists(layout):
    return {owner: parse_cpu_list(getattr(layout, owner)) for owner in OWNERS}


def of(here, attribute, numbers):
    return {getattr(cpu, attribute) for cpu in here.cpus if cpu.number in numbers}


# --- every machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_on_every_machine(name):
    here, advice = topology(name), advised(name)
    layout, cpus = advice.layout, lists(advice.layout)
    online = {cpu.number for cpu in here.cpus}
    assert all(cpus.values()), "every owner has a CPU"
    assert set().union(*cpus.values()) <= online, "offline CPUs are never used"
    for owner in OWNERS:
        assert len(of(here, "speed", cpus[owner])) == 1 or layout.packed, f"{owner}: fast and slow cores"
    assert layout.packed == (len(here.cores) < FEWEST)
    if layout.packed:
        assert any("no verdict on latency" in reason for reason in advice.reasons)
        return
    for first, second in combinations(MEASURED, 2):
        assert of(here, "core", cpus[first]).isdisjoint(of(here, "core", cpus[second])), (first, second)
    for owner in ("app", "database", "load_generator"):
        assert of(here, "core", cpus[owner]).isdisjoint(of(here, "core", cpus["housekeeping"])), owner
    if len({cpu.l2 for cpu in here.cpus}) > 1:
        assert of(here, "l2", cpus["app"]).isdisjoint(of(here, "l2", cpus["load_generator"]))
    for owner in MEASURED:
        assert len(of(here, "l3", cpus[owner])) == 1, f"{owner} is spread over L3 caches"
    if any(sum(core[0].node == node for core in here.cores) >= FEWEST for node in of(here, "node", online)):
        assert len(of(here, "node", [cpu for owner in SERVICES for cpu in cpus[owner]])) == 1
    if cpus["housekeeping"] != cpus["cache"]:
        assert 0 not in (*cpus["app"], *cpus["load_generator"])


@pytest.mark.parametrize("name", ALL)
def test_the_advice_says_all_that_is_wrong_with_itself(name):
    advice = advised(name)
    assert advice.findings == findings(topology(name), advice.layout)
    for finding in advice.findings:
        assert any(finding.detail in reason for reason in advice.reasons)


@pytest.mark.parametrize("name", ALL)
def test_what_is_printed_is_the_layout_as_group_vars_have_it(name):
    advice = advised(name)
    told = yaml.safe_load(text(advice))
    assert list(told) == ["core_layout"]
    assert all(isinstance(told["core_layout"][owner], str) for owner in OWNERS), "a CPU list is text"
    assert msgspec.convert(told["core_layout"], CoreLayout) == advice.layout
    assert all(len(line) <= 110 for line in text(advice).splitlines())


def test_rows_in_another_order_tell_the_same():
    told = FIXTURES["core-i9-12900k"]
    assert advise(understand(told["cpu_model"], told["topology"][::-1])) == advised("core-i9-12900k")


# --- known machines ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FX)
def test_the_fx_8320_gets_the_published_layout(name):
    assert advised(name).layout == PUBLISHED
    inventory = Path(__file__).parents[3] / "inventory/fx8320/group_vars/all.yml"
    assert (
        yaml.safe_load(text(advised(name)))["core_layout"]
        == yaml.safe_load(inventory.read_text())["core_layout"]
    )


@pytest.mark.parametrize("name", FX)
def test_half_a_module_is_no_core(name):
    halves = msgspec.structs.replace(PUBLISHED, app="0,2", database="1,3")
    (found,) = judge(topology(name), halves)[:1]
    assert (found.rule, found.owners, found.avoidable) == ("core", ["app", "database"], True)
    assert "front end" in found.detail


def test_two_l3_caches_part_app_and_load_generator():
    advice = advised("ryzen-3700x")
    assert advice.findings == []
    cpus = lists(advice.layout)
    assert {cpu % 8 // 4 for cpu in cpus["app"]} != {cpu % 8 // 4 for cpu in cpus["load_generator"]}


@pytest.mark.parametrize("hidden", ["type", "max_khz"])
def test_p_cores_are_measured_and_e_cores_keep_house(hidden):
    rows = [{**row, hidden: ""} for row in RECORDED["core-i9-12900k"]]
    cpus = lists(advise(understand("i9", rows)).layout)
    assert all(cpu < 16 for owner in MEASURED for cpu in cpus[owner])
    assert all(cpu >= 16 for cpu in cpus["housekeeping"])


def test_big_cores_are_measured_and_a_little_one_keeps_house():
    cpus = lists(advised("arm-big-little").layout)
    assert {cpu for owner in MEASURED for cpu in cpus[owner]} == {4, 5, 6, 7}
    assert set(cpus["housekeeping"]) <= {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["xeon-2620v4-dual", "2 sockets of 16 cores"])
def test_services_have_one_socket_and_the_load_generator_the_other(name):
    cpus = lists(advised(name).layout)
    assert of(topology(name), "node", [cpu for owner in SERVICES for cpu in cpus[owner]]) == {0}
    assert of(topology(name), "node", cpus["load_generator"]) == {1}


@pytest.mark.parametrize("name", ["cloud-8-vcpus", "cloud-8-vcpus-adjacent"])
def test_eight_vcpus_are_four_cores(name):
    layout = advised(name).layout
    assert not layout.packed
    assert layout.housekeeping == layout.cache


def test_four_vcpus_are_two_cores_and_the_app_has_one_of_them():
    advice = advised("cloud-4-vcpus")
    assert (advice.layout.name, advice.layout.packed, advice.layout.app) == ("packed", True, "0,2")
    assert "0" not in advice.layout.load_generator.split(",")


def test_two_vcpus_are_laid_out_as_the_sandbox():
    layout = advised("cloud-2-vcpus").layout
    assert (layout.app, layout.database, layout.load_generator) == ("0-1", "0", "1")


def test_plenty_of_cores_give_everybody_two_and_housekeeping_cpu_0():
    cpus = lists(advised("arm-64").layout)
    assert [len(cpus[owner]) for owner in OWNERS] == [2] * 5
    assert 0 in cpus["housekeeping"]


# --- judging -----------------------------------------------------------------------------------


def rules(name, **owners):
    given = msgspec.structs.replace(advised(name).layout, **owners)
    return {(one.rule, *one.owners): one.avoidable for one in judge(topology(name), given)}


def test_threads_of_one_core():
    # The load generator on the siblings of the app's cores.
    assert rules("ryzen-3700x", app="1-2", load_generator="9-10")["core", "app", "load_generator"] is True


def test_an_l3_in_common_is_said_only_where_it_can_be_avoided():
    layout = {"app": "1-2", "load_generator": "3", "cache": "6-7"}
    assert rules("ryzen-3700x", **layout)["l3", "app", "load_generator"] is True
    assert rules("cloud-8-vcpus")["l3", "app", "load_generator"] is False


def test_an_l2_of_e_cores_in_common():
    assert rules("core-i9-12900k", app="16-17", load_generator="18-19")["l2", "app", "load_generator"] is True


def test_cores_of_two_kinds():
    found = rules("core-i9-12900k", app="14,16")
    assert found["kinds", "app"] is True
    assert ("unlike", "app", "database") in found


def test_two_sockets_between_the_services():
    assert rules("xeon-2620v4-dual", cache="5,7", load_generator="12,14").keys() >= {
        ("node", "app", "database", "cache"),
        ("l3", "app", "load_generator"),
    }


def test_a_cpu_that_is_offline_and_one_that_two_have():
    found = rules("fx8320", app="0-1,8", load_generator="1,6")
    assert found["offline", "app"] is True
    assert found["cpu", "app", "load_generator"] is True


def test_cpu_0_of_the_app_beside_housekeeping_with_cpus_of_its_own():
    assert rules("arm-64", app="0-1", housekeeping="2-3") == {
        ("l3", "app", "load_generator"): False,
        ("cpu0", "app"): True,
    }


def test_a_packed_layout_shares_by_intention():
    layout = msgspec.structs.replace(PUBLISHED, packed=True, app="0-3", database="0", load_generator="1")
    assert findings(topology("fx8320"), layout) == []


def test_only_whom_the_host_has():
    here = topology("fx8320")
    layout = msgspec.structs.replace(PUBLISHED, database="1-2")
    assert findings(here, layout, ["app"]) == []
    assert {one.rule for one in findings(here, layout, ["app", "database"])} == {"cpu"}


# --- the command -------------------------------------------------------------------------------


def test_the_command_on_this_machine(run):
    code, out, _ = run("layout", "--json")
    told = json.loads(out)
    assert code == 0
    assert len(rows_of_this_machine()) == os.cpu_count()
    assert set(parse_cpu_list(told["layout"]["app"])) <= set(range(os.cpu_count() or 0))


def test_judging_a_file_and_the_recorded_layout(run, tmp_path):
    fixture = tmp_path / "host.json"
    bad = msgspec.to_builtins(PUBLISHED) | {"app": "0,2", "database": "1,3"}
    fixture.write_text(
        json.dumps(FIXTURES["fx8320"] | {"layout": bad, "kernel": "what a bundle has besides"})
    )
    code, out, _ = run("layout", "--from", fixture, "--judge", "--json")
    assert code == 1
    assert json.loads(out)["findings"][0]["rule"] == "core"
    good = tmp_path / "all.yml"
    good.write_text(text(advised("fx8320")))
    code, out, _ = run("layout", "--from", fixture, "--judge", good)
    assert (code, out.startswith("cannot be avoided here: ")) == (0, True)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("{", "tells of no host's CPUs"),
        ('{"cpu_model": "x", "topology": []}', "has no CPU"),
        ('{"cpu_model": "x", "topology": [{"cpu": "a"}]}', "is not one that ironbench recorded"),
        ('{"cpu_model": "x", "topology": [{"cpu": "0"}], "schema": 99}', "has schema 99"),
        ('{"cpu_model": "x", "topology": [{"cpu": "0"}]}', "the recorded host has no core layout"),
        ('{"cpu_model": "x", "topology": [{"cpu": "0"}], "layout": {"app": 0}}', "is not one"),
    ],
)
def test_bad_input_is_one_sentence(run, tmp_path, host, words):
    fixture = tmp_path / "host.json"
    fixture.write_text(host)
    code, _, error = run("layout", "--from", fixture, "--judge")
    assert code == 2
    assert words in error


def test_a_layout_that_is_no_cpu_list_is_one_sentence():
    with pytest.raises(IronbenchError, match="no list of CPUs"):
        findings(topology("fx8320"), msgspec.structs.replace(PUBLISHED, app="a-b"))
