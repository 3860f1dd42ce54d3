"""What the hosts of this scenario went through: once, and all of them at the same time, since emulated CPUs are slow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest
import testinfra
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import REPOSITORY, command, environment

LAYOUT = yaml.safe_load((REPOSITORY / "inventory/fx8320/group_vars/all.yml").read_text())["core_layout"]
OWNERS = {
    "auth-app@": "app",
    "postgresql@": "database",
    "pgbouncer.": "database",
    "valkey-server.": "cache",
    "ironbench-load-": "load_generator",
}
"""Start of a unit's name -> whose CPUs of the layout it has."""
NOFILE = "65535"
PROBE = (Path(__file__).parent / "probe.py").read_text()
HEALTHY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=10)"
PATIENCE_S = 240.0
STORIES = pytest.StashKey[dict[str, "Story"]]()


class Process(NamedTuple):
    unit: str
    name: str
    pid: int
    cpus: list[str]
    """Of each thread, as the kernel writes them."""
    nofile: list[str]
    """Soft and hard limit."""
    allowed: str
    """Of the unit's cgroup."""

    @property
    def owner(self) -> str:
        return next(owner for start, owner in OWNERS.items() if self.unit.startswith(start))


class Crash(NamedTuple):
    restart: str
    """Restart= of the unit."""
    state: str
    """What the unit came to when its main process was killed."""
    same_process: bool


class Story(NamedTuple):
    moments: dict[str, list[Process]]
    """All processes of the slice, when something had been done to the services."""
    crashes: dict[str, Crash]
    bundle: Path
    planned: int


def until(condition, what: str):
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never saw {what}"
    return value


def look(host) -> list[Process]:
    return [Process(**one) for one in json.loads(host.check_output("python3 -c %s", PROBE))]


def show(host, unit: str, *names: str) -> list[str]:
    lines = host.check_output(f"systemctl show --property={','.join(names)} {unit}").splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return [values[name] for name in names]


def healthy(host) -> None:
    until(lambda: host.run("python3 -c %s", HEALTHY).rc == 0, "a healthy app")


def kill(host, units: list[str]) -> dict[str, Crash]:
    """Kill the main processes; return what systemd made of it, and have all units run again."""
    before = {unit: show(host, unit, "MainPID", "Restart") for unit in units}
    host.check_output("kill -9 " + " ".join(main for main, _ in before.values()))

    def settled(unit: str) -> list[str] | None:
        main, state = show(host, unit, "MainPID", "ActiveState")
        done = state == "failed" or (state == "active" and main not in ("0", before[unit][0]))
        return [main, state] if done else None

    after = {unit: until(lambda: settled(unit), f"an end of the crash of {unit}") for unit in units}  # noqa: B023
    host.check_output("systemctl start " + " ".join(units))
    return {
        unit: Crash(
            restart=before[unit][1], state=after[unit][1], same_process=after[unit][0] == before[unit][0]
        )
        for unit in units
    }


def run_plan(host, name: str, results: Path) -> list[Process]:
    """Run a plan; return what was seen while the generator of one of its runs had been started."""
    variables = {
        "bench_study": str(Path(__file__).parents[1] / "study"),
        "bench_results_dir": str(results),
        "bench_protocol": "tiny",
        # Where CPUs are emulated the instruments are late; their faults are what they are.
        "bench_retries": 0,
    }
    arguments = [f"--limit={name}", "--extra-vars", json.dumps(variables)]
    with (results / "log").open("w") as log:
        playbook = subprocess.Popen(
            command("playbooks/bench.yml", "eight_cpus", *arguments),
            cwd=REPOSITORY,
            env=environment(),
            stdout=log,
            stderr=log,
            text=True,
        )

    def loaded() -> list[Process]:
        assert playbook.poll() is None, (results / "log").read_text()
        seen = look(host)
        return seen if {one.owner for one in seen} == set(OWNERS.values()) else []

    try:
        seen = until(loaded, "a generator")
        assert playbook.wait(timeout=900) == 0, (results / "log").read_text()
    finally:
        playbook.kill()
    return seen


def live(name: str, config: pytest.Config, results: Path) -> Story:
    """Put one host through everything."""
    host = testinfra.get_host(f"ssh://{name}", ssh_config=config.getoption("ssh_config"))
    moments = {"converge": look(host)}
    units = sorted({one.unit for one in moments["converge"]})
    host.check_output("systemctl restart " + " ".join(units))
    healthy(host)
    moments["restart"] = look(host)
    reloadable = [unit for unit in units if show(host, unit, "CanReload") == ["yes"]]
    assert reloadable, "PostgreSQL and PgBouncer can reload"
    host.check_output("systemctl daemon-reload && systemctl reload " + " ".join(reloadable))
    moments["reload"] = look(host)
    crashes = kill(host, units)
    healthy(host)
    moments["crash"] = look(host)
    results.mkdir()
    moments["load"] = run_plan(host, name, results)
    (bundle,) = (path for path in results.iterdir() if path.is_dir())
    planned = len(json.loads((bundle / "plan.json").read_bytes())["runs"])
    return Story(moments=moments, crashes=crashes, bundle=bundle, planned=planned)


@pytest.fixture(scope="session")
def stories(request, tmp_path_factory) -> dict[str, Story]:
    names = [spec.removeprefix("ssh://") for spec in request.config.getoption("hosts").split(",")]
    place = tmp_path_factory.mktemp("results")
    with ThreadPoolExecutor(len(names)) as pool:
        lived = pool.map(lambda name: live(name, request.config, place / name), names)
        request.config.stash[STORIES] = dict(zip(names, lived, strict=True))
    return request.config.stash[STORIES]


@pytest.fixture
def story(stories, host) -> Story:
    return stories[host.backend.get_hostname()]


@pytest.fixture
def layout() -> dict[str, str]:
    """The article's: CPUs by owner, as the kernel writes them."""
    return {owner: text for owner, text in LAYOUT.items() if owner != "name"}


def rows(name: str, story: Story) -> list[list[str]]:
    """Processes of one name in one unit are one row."""
    made = []
    seen = sorted(story.moments["load"], key=lambda one: (one.unit, one.name))
    for (unit, process), group in groupby(seen, key=lambda one: (one.unit, one.name)):
        same = list(group)
        threads = [cpus for one in same for cpus in one.cpus]
        wanted = LAYOUT[same[0].owner]
        made.append(
            [
                name,
                unit,
                f"{len(same)} x {process}",
                str(len(threads)),
                wanted,
                "+".join(sorted(set(threads))),
                NOFILE,
                "+".join(sorted({limit for one in same for limit in one.nofile})),
                wanted,
                "+".join(sorted({one.allowed for one in same})),
            ]
        )
    return made


HEAD = ["host", "unit", "processes", "threads", *("CPUs", "is"), *("nofile", "is"), *("allowed CPUs", "is")]


def pytest_terminal_summary(terminalreporter, config):
    stories = config.stash.get(STORIES, {})
    table = [HEAD] + [row for name, story in stories.items() for row in rows(name, story)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    terminalreporter.section("what each process should have and what it is, under load")
    for row in table:
        terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    for name, story in stories.items():
        for unit, crash in story.crashes.items():
            terminalreporter.line(f"{name}: {unit} killed: Restart={crash.restart}, then {crash.state}")
        for path in sorted(story.bundle.glob("runs/*/*/*/run.json")):
            run = json.loads(path.read_bytes())
            kinds = sorted({fault["kind"] for fault in run["instrument_faults"]})
            terminalreporter.line(
                f"{name}: {'/'.join(path.parts[-4:-1])} sealed, instrument faults: {', '.join(kinds) or 'none'}"
            )
