"""A plan in a results directory of its own, run as a user does, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

from controller import REPOSITORY, command, environment, play

if TYPE_CHECKING:
    from pathlib import Path


def until(condition, what: str, seconds: float = 180):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never saw {what}"
        time.sleep(0.1)  # between two looks: they would take a CPU from what is looked at
    return value


class Plan:
    """One plan in a results directory of its own."""

    def __init__(self, results: Path, inventory: str, study: Path, **variables: object) -> None:
        self.results = results
        self.inventory = inventory
        self.variables = json.dumps(
            {
                "bench_study": str(study),
                "bench_results_dir": str(results),
                "bench_protocol": "tiny",
                **variables,
            },
        )

    def start(self) -> subprocess.Popen[str]:
        """Start the playbook in a process group of its own, as ``make bench`` has one."""
        log = (self.results / "log").open("a")
        return subprocess.Popen(
            command("playbooks/bench.yml", self.inventory, "--extra-vars", self.variables),
            cwd=REPOSITORY,
            env=environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
            text=True,
        )

    def finish(self) -> str:
        """Run the playbook to its end and return what it said."""
        done = play("playbooks/bench.yml", self.inventory, "--extra-vars", self.variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def bundles(self) -> list[Path]:
        return sorted(path for path in self.results.iterdir() if path.is_dir())

    @property
    def files(self) -> dict[str, Path]:
        """run.json by key: experiment, block, variant with its repetition."""
        return {
            "/".join(path.parts[-4:-1]): path for path in sorted(self.results.glob("*/runs/*/*/*/run.json"))
        }

    @property
    def runs(self) -> dict[str, dict]:
        return {key: json.loads(path.read_bytes()) for key, path in self.files.items()}

    @property
    def lost(self) -> list[dict]:
        """Sessions that came to nothing."""
        return [json.loads(path.read_bytes()) for path in sorted(self.results.glob("*/lost/*/*/lost.json"))]
