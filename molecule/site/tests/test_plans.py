"""Whole plans with real load: sealed, gone on with after a kill, and judged when something breaks."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import play
from plans import Plan, until

SERVICES = {"app", "postgresql", "pgbouncer", "valkey"}
STUDY = Path(__file__).parents[1] / "study"
GENERATOR = "systemctl is-active 'ironbench-load-*'"


class SitePlan(Plan):
    """A plan on the scenario's host."""

    def __init__(self, results: Path, host, **variables: object) -> None:
        super().__init__(results, "site", STUDY, **variables)
        self.host = host

    def wait_for_load(self) -> None:
        """Until the app has worked for a second on this session's requests: warm-up or window."""

        def used() -> int:
            cgroup = self.host.run(
                "cat /sys/fs/cgroup/bench.slice/*/auth-app@*/cpu.stat /sys/fs/cgroup/bench.slice/auth-app@*/cpu.stat"
            )
            return max(
                [int(line.split()[1]) for line in cgroup.stdout.splitlines() if "usage_usec" in line] or [0]
            )

        until(lambda: "active" in self.host.run(GENERATOR).stdout.split(), "a generator")
        before = used()
        until(lambda: used() > before + 1_000_000, "an app that works")


@pytest.fixture
def plan(tmp_path, host):
    return lambda **variables: SitePlan(tmp_path, host, **variables)


def test_a_plan_that_was_killed_goes_on_and_every_run_is_sealed_once(plan):
    made = plan()
    playbook = made.start()
    until(
        lambda: len(made.files) == 1 and "active" in made.host.run(GENERATOR).stdout.split(), "a second run"
    )
    os.killpg(playbook.pid, signal.SIGKILL)
    playbook.wait()
    first = {key: path.read_bytes() for key, path in made.files.items()}
    assert len(first) == 1
    assert "Sealed what an interrupted playbook left" in made.finish(), "what was under way is not forgotten"

    (bundle,) = made.bundles
    planned = [
        (run["experiment"], run["block"], run["variant"])
        for run in json.loads((bundle / "plan.json").read_bytes())["runs"]
    ]
    sealed = Counter(
        (r["run"]["experiment"], r["run"]["block"], r["run"]["variant"])
        for r in made.runs.values()
        if r["run"]["attempt"] == 1
    )
    assert sealed == Counter(planned), "no run twice, none lost"
    assert {key: made.files[key].read_bytes() for key in first} == first, "what was sealed has not changed"
    assert not list(bundle.glob("attempts/*/2.json")), "what it measured was sealed, and not measured again"

    for key, run in made.runs.items():
        load = run["load"]
        assert (load["unexpected_status"], load["errors"]) == (0, {}), key
        assert load["completed"] + load["unsent"] == load["scheduled"], key
        assert load["completed"] > 0, key
        per_request = {cpu["service"]: cpu["per_request_ms"] for cpu in run["cpu"]}
        assert per_request.keys() >= SERVICES
        assert per_request["app"] > 1, "an Argon2 hash cannot cost less"
        raw = made.files[key].parent / "raw/molecule-site-13"
        for name in (
            "cgroup.jsonl",
            "sar.json",
            "sar.bin",
            "load/requests.csv.gz",
            "load/histograms.json",
            "before.json",
        ):
            assert (raw / name).stat().st_size > 0, name
        assert not list(raw.rglob("users*")), "passwords and tokens stay on the host"
    for name in ("report.html", "report.md", "results.json"):
        assert (bundle / name).stat().st_size > 0
    assert "no verdict" in (bundle / "report.md").read_text()
    assert made.host.run("systemctl list-units --no-legend 'ironbench-*'").stdout == "", (
        "something was left running"
    )
    assert made.host.service("auth-app@baseline").is_running


def test_a_second_plan_is_refused_with_the_name_of_the_first_and_disturbs_nothing(plan, tmp_path):
    # Eight sessions: more than the second playbook takes until it asks the host.
    made = plan(
        bench_protocol="kill", bench_experiments=["signin"], bench_variants=["final"], bench_retries=0
    )
    playbook = made.start()
    made.wait_for_load()
    (tmp_path / "second").mkdir()
    second = SitePlan(tmp_path / "second", made.host)
    refused = play("playbooks/bench.yml", "site", "--extra-vars", second.variables)
    assert refused.returncode != 0
    (bundle,) = [path for path in made.bundles if path.name != "second"]
    assert f"is held for the plan {bundle.name} of " in " ".join(refused.stdout.split())
    assert playbook.wait(timeout=300) == 0, (made.results / "log").read_text()
    assert len(made.runs) == 8
    faults = [fault["kind"] for run in made.runs.values() for fault in run["instrument_faults"]]
    assert not {"service-interrupted", "observer-died", "quiet-ended"} & set(faults)
    assert made.lost == []


def test_a_database_that_was_stopped_from_outside_is_an_instrument_fault(plan):
    made = plan(bench_experiments=["signin"], bench_variants=["final"], bench_retries=1)
    playbook = made.start()
    made.wait_for_load()
    made.host.check_output("systemctl stop postgresql@17-bench")
    assert playbook.wait(timeout=300) == 0, (made.results / "log").read_text()
    hit, repeated = (made.runs[key] for key in ("signin/01/final", "signin/01/final.retry1"))
    faults = [fault for fault in hit["instrument_faults"] if "postgresql" in fault["detail"]]
    assert faults, hit["instrument_faults"]
    assert not [fault for fault in repeated["instrument_faults"] if "postgresql" in fault["detail"]]
    assert repeated["load"]["statuses"] == {"204": repeated["load"]["completed"]}


def test_an_app_that_crashes_is_an_outcome(plan):
    made = plan(bench_experiments=["signin"], bench_variants=["final"], bench_retries=0)
    playbook = made.start()
    made.wait_for_load()
    made.host.check_output("systemctl kill --kill-whom=main --signal=SEGV auth-app@final")
    assert playbook.wait(timeout=300) == 0, (made.results / "log").read_text()
    run = made.runs["signin/01/final"]
    assert "crash" in [outcome["kind"] for outcome in run["outcomes"]]
    assert not [fault for fault in run["instrument_faults"] if "auth-app" in fault["detail"]]


def test_what_blocks_and_what_a_search_found_are_sealed(plan):
    made = plan(bench_experiments="blocked,searched")
    made.finish()
    runs, files = made.runs, made.files
    inline = runs["blocked/01/inline"]["loop_blocks"]
    pool = runs["blocked/01/pool"]["loop_blocks"]
    # Two tokens signed with a PEM that is parsed each time, and a hash, against a hash in another thread.
    assert inline["per_request_ms"] > 2 * pool["per_request_ms"]
    assert inline["callbacks"] >= runs["blocked/01/inline"]["load"]["completed"] > 0
    assert runs["searched/01/final"]["loop_blocks"] is None
    for key, run in files.items():
        assert (run.parent / "raw/molecule-site-13/slow_callbacks.jsonl").exists() == key.startswith(
            "blocked"
        )
    found = runs["searched/01/final"]["search"]
    rates = [step["rate"] for step in found["steps"]]
    assert rates[0] == 500
    if found["steps"][0]["kept"]:
        assert rates[1] == 600
    assert runs["searched/01/final"]["load"]["offered_rps"] == (found["highest_rps"] or 500)
