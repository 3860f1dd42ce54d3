"""Query plans on a real PostgreSQL: a small table, in a cluster that leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from ironbench.query_plan.cluster import HOME, UNIT
from ironbench.query_plan.measure import random_blocks
from ironbench.records import SCHEMA, QueryPlanOrder, QueryPlanRecord, QueryPlanTest

from .conftest import POSTGRESQL, describe_host, show

TEST = QueryPlanTest(
    title="a small table",
    rows=20_000,
    selected=197,
    executions=3,
    settings={
        "random-page-cost-4": {"random_page_cost": "4.0"},
        "random-page-cost-1": {"random_page_cost": "1.0"},
    },
    configurations={"defaults": {}, "narrow": {"default_statistics_target": "500"}},
)
ORDER = QueryPlanOrder(schema=SCHEMA, name="small", test=TEST, seed=3)


@pytest.fixture(scope="module")
def measured(machine, tmp_path_factory):
    """Measure the test once; return the record, and the bench's cluster before and after."""
    description = tmp_path_factory.mktemp("query-plan") / "host.json"
    description.write_bytes(msgspec.json.encode(describe_host(Path("/var/lib/ironbench"))))
    before = show(POSTGRESQL, "InvocationID")
    command = [
        str(Path(sys.executable).with_name("ironbench")),
        "query-plan",
        "measure",
        "--host",
        str(description),
    ]
    # As a killed measurement leaves it.
    (HOME / "ironbench-query-plan" / "data").mkdir(parents=True)
    done = subprocess.run(
        command, input=msgspec.json.encode(ORDER).decode(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=QueryPlanRecord), (before, show(POSTGRESQL, "InvocationID"))


def test_every_setting_is_executed_in_the_order_of_the_seed(measured):
    record, _ = measured
    assert [(case.configuration, case.state) for case in record.cases] == [
        (configuration, state)
        for configuration in ("defaults", "narrow")
        for state in ("cached", "published-order", "cold")
    ]
    for case in record.cases:
        done = [(one.block, one.setting) for one in case.executions]
        expected = random_blocks(ORDER, f"{case.configuration}/{case.state}")
        if case.state == "published-order":
            expected = [(block, setting) for block in (1, 2, 3) for setting in TEST.settings]
        assert done == expected
        assert {one.rows for one in case.executions} == {197}


def test_configuration_reaches_the_cluster(measured):
    record, _ = measured
    targets = {case.configuration: case.parameters["default_statistics_target"] for case in record.cases}
    assert targets == {"defaults": "100", "narrow": "500"}
    assert {case.parameters["shared_buffers"] for case in record.cases} == {"128MB"}


def test_settings_decide_the_plan(measured):
    record, _ = measured
    scans = {one.setting: one.scan for one in record.cases[0].executions}
    assert scans == {
        "random-page-cost-4": "Bitmap Heap Scan > Bitmap Index Scan",
        "random-page-cost-1": "Index Scan",
    }
    shown = record.cases[0].plans
    assert "Bitmap Heap Scan on exercises" in shown["random-page-cost-4"].text[0]
    assert shown["random-page-cost-1"].raw[0]["Plan"]["Index Name"] == "uq_exercise_slug"


def test_caches_are_as_the_state_says(measured):
    record, _ = measured
    for case in record.cases:
        for one in case.executions:
            if case.state == "cold":
                assert one.read > 100, case.state
            else:
                assert (one.read, one.disk_bytes) == (0, 0), case.state
                assert one.hit > 100, case.state
    # The kernel was asked again too: what shared buffers did not have came from the disk.
    cold = [one for case in record.cases if case.state == "cold" for one in case.executions]
    assert all(one.disk_bytes is not None and one.disk_bytes > 100 * 4096 for one in cold)


def test_nothing_is_left_and_the_benchs_cluster_was_not_touched(measured):
    _, (before, after) = measured
    assert before == after
    assert not (HOME / "ironbench-query-plan").exists()
    listed = subprocess.run(
        ["systemctl", "list-units", "--all", "--output=json", UNIT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(listed.stdout) == []
