"""A plan in the article's layout: who is on which CPUs while it runs and afterwards, and what its bundle says of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from plans import Plan, until

OWNERS = {"app", "database", "cache", "load_generator"}
MISPLACED = {"affinity", "service-interrupted", "observer-died"}
"""Instrument faults that slowness does not cause."""
REST = ("system.slice", "user.slice", "init.scope")
PATIENCE_S = 600.0


def test_a_plan_runs_on_it_while_the_rest_of_the_host_is_kept_away(host, look, layout, tmp_path):
    # Where CPUs are emulated the instruments are late: their faults are what they are, and no block is repeated.
    plan = Plan(
        tmp_path,
        f"eight_cpus/{os.environ.get('DEBIAN', '13')}",
        Path(__file__).parents[1] / "study",
        bench_retries=0,
    )
    playbook = plan.start()

    def loaded():
        assert playbook.poll() is None, (tmp_path / "log").read_text()
        seen = look()
        owners = {one.owner for one in seen if one.slice == "bench.slice"}
        return seen if owners == OWNERS else []

    try:
        seen = until(loaded, "a generator beside all services", PATIENCE_S)
        assert playbook.wait(timeout=1800) == 0, (tmp_path / "log").read_text()
    finally:
        playbook.kill()

    assert [one for one in seen if one.slice == "bench.slice" and one.has != one.should_have] == []
    rest = {one.slice: set() for one in seen if one.slice in REST}
    assert rest.keys() >= {"system.slice", "init.scope"}
    for one in seen:
        if one.slice in REST:
            rest[one.slice] |= {one.allowed, *one.cpus}
    assert rest == {name: {layout["housekeeping"]} for name in rest}
    assert {one.allowed for one in look() if one.slice in REST} == {"0-7"}

    (bundle,) = plan.bundles
    assert plan.runs.keys() == {"me/01/baseline", "me/01/final"}
    for key, run in plan.runs.items():
        assert [fault for fault in run["instrument_faults"] if fault["kind"] in MISPLACED] == [], key
        assert run["load"]["completed"] > 0, key
    (path,) = bundle.glob("environment/*.json")
    facts = json.loads(path.read_bytes())
    assert (facts["cpu_count"], facts["cpuset"], facts["layout"]["packed"]) == (8, True, False)
    assert {owner: facts["layout"][owner] for owner in layout} == layout
    steps = facts["quiet"]["steps"]
    assert {name: steps[name]["effective"] for name in rest} == dict.fromkeys(rest, layout["housekeeping"])
