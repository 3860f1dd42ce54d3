"""kill -9 at any moment of a plan: it goes on, and nothing is lost, doubled or half there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.attempts import count_sides
from ironbench.cli import main
from ironbench.files import read_record
from ironbench.plan import make_session
from ironbench.records import Protocol, Results

from .made import WINDOW_S, due, handed_in, study, write_raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = 20
RUNS = 8
"""Two experiments of three variants, each with a twin."""
DISK = ("fsync", "mkdir", "rename", "replace", "rmdir", "unlink")
"""Functions of os that change what a reader of the bundle finds, or make it last."""
IRONBENCH = [sys.executable, "-c", "import sys; from ironbench.cli import main; sys.exit(main())"]


class Bench:
    """What the playbook does of a plan, without hosts: each step a command that can be killed."""

    def __init__(self, directory: Path) -> None:
        self.study = directory / "study"
        self.study.mkdir()
        protocols = {"small": Protocol(blocks=1, warmup_s=2, window_s=WINDOW_S, a_a=True)}
        (self.study / "experiments.yml").write_bytes(msgspec.yaml.encode(study(protocols=protocols)))
        self.results = directory / "results"
        self.raw = directory / "raw"
        self.begun = 0
        """Times that a playbook asked for its first session, killed or not."""
        self.kept: dict[str, bytes] = {}
        """Every file that must never change again, as it was when it was first seen."""

    @property
    def bundle(self) -> Path:
        (found,) = [path for path in self.results.iterdir() if not path.name.startswith(".")]
        return found

    def plan(self) -> list[str]:
        arguments = ["--study", str(self.study), "--protocol", "small", "--results", str(self.results)]
        return ["plan", *arguments, "--resume", "--seed", "3"]

    def environment(self) -> list[str]:
        return ["environment", str(self.bundle), "box"]

    def pending(self) -> list[str]:
        self.begun += 1
        return ["pending", str(self.bundle), "--begin", "--json"]

    def seal(self) -> list[str]:
        return ["seal", str(self.bundle), "--host", "box", "--json"]

    def collected(self) -> bytes:
        """Make what the hosts hand in of the pending run."""
        run = due(self.bundle)
        raw = self.raw / run.key
        if not raw.exists():
            write_raw(raw, make_session(bundles.read_plan(self.bundle), run))
        return handed_in(raw)

    def report(self) -> list[str]:
        return ["report", str(self.bundle)]

    def check(self) -> int:
        """See that what is there is whole and as it was; return how many runs are sealed."""
        found = [path for path in self.results.glob("*") if not path.name.startswith(".")]
        if not found:
            return 0
        (bundle,) = found
        contents = bundles.read_contents(bundle)
        assert contents.damaged == []
        assert contents.manifest.id == contents.plan.id == bundle.name
        keys = [run.run.key for run in contents.runs]
        assert len(set(keys)) == len(keys)
        assert [run.run for run in contents.runs] == contents.plan.runs[: len(keys)], "in the plan's order"
        attempts = [(one.run.key, one.number) for one in contents.attempts]
        last = dict(sorted(attempts))
        assert len(attempts) == len(set(attempts)) == sum(last.values()), "numbered from 1, none doubled"
        files = [path for path in bundle.rglob("*") if path.is_file()]
        names = {path.relative_to(bundle): path for path in files}
        now = {name.as_posix(): path.read_bytes() for name, path in names.items() if _lasts(name)}
        assert {name: now.get(name) for name in self.kept} == self.kept, "what was sealed is there, unchanged"
        self.kept = now
        return len(keys)

    def check_end(self) -> None:
        """See that the plan ended as one that nobody killed."""
        assert self.check() == len(bundles.read_plan(self.bundle).runs) == RUNS
        assert due(self.bundle) is None
        contents = bundles.read_contents(self.bundle)
        counts = count_sides(
            contents.plan, contents.runs, {run.run.key for run in contents.runs}, [], contents.attempts
        )
        assert [(side.planned, side.counted, side.lost) for side in counts] == [(1, 1, 0)] * RUNS
        assert {one.run.key for one in contents.attempts} == {run.run.key for run in contents.runs}
        assert sum(side.interrupted for side in counts) == len(contents.attempts) - RUNS <= self.begun
        state = read_record(self.bundle / "results.json", Results)
        assert (state.sealed, state.total, state.damaged) == (RUNS, RUNS, [])
        assert [run.counted for run in state.runs] == [True] * RUNS
        assert list(self.results.rglob(".*")) == [], "nothing half-done lies about"


def _lasts(name: Path) -> bool:
    """Whether a file must stay as it is; a report may be written again, and half-done files have a dot."""
    half_done = any(part.startswith(".") for part in name.parts)
    return not half_done and name.parts[0] in {
        "environment",
        "manifest.json",
        "plan.json",
        "claims.json",
        "attempts",
        "runs",
    }


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# --- at every step -----------------------------------------------------------------------------


def killed_at(step: int, arguments: list[str], stdin: bytes = b"") -> bool:
    """Run a command in a child that kills itself just before its n-th change of the disk; say whether it did."""
    pid = os.fork()
    if pid == 0:
        try:
            with tempfile.TemporaryFile() as file:
                file.write(stdin)
                file.seek(0)
                os.dup2(file.fileno(), 0)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115 - of a descriptor, for the child's life
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - likewise
            _die_before(step)
            os._exit(main(arguments))
        finally:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, arguments
    return False


def _die_before(step: int) -> None:
    done = 0

    def deadly(original: Callable) -> Callable:
        def change(*arguments: object, **options: object) -> object:
            nonlocal done
            done += 1
            if done == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return change

    for name in DISK:
        setattr(os, name, deadly(getattr(os, name)))


def killed_at_steps(
    bench: Bench, command: Callable[[], list[str]], stdin: bytes = b"", *, first: int = 1, stride: int = 1
) -> int:
    """Kill a command before its first change, then before its second, and so on; return the kills."""
    sealed = bench.check()
    for kills, step in enumerate(count(first, stride)):
        if not killed_at(step, command(), stdin):
            bench.check()
            return kills
        now = bench.check()
        assert sealed <= now <= sealed + 1
        if now > sealed:
            return kills + 1  # what was killed had done all that counts
    raise AssertionError


def test_a_kill_before_every_change_of_the_disk(bench):
    kills = killed_at_steps(bench, bench.plan)
    assert kills > 5
    kills += killed_at_steps(bench, bench.environment, b'{"cpus": 8}')
    for number in range(RUNS):
        assert bench.check() == number
        kills += killed_at_steps(bench, bench.pending)
        # Every step of the first run and of the last, other ones of each between.
        stride = 1 if number in {0, RUNS - 1} else RUNS - 2
        here = killed_at_steps(
            bench, bench.seal, bench.collected(), first=1 if stride == 1 else number, stride=stride
        )
        assert here > 2
        kills += here
    kills += killed_at_steps(bench, bench.report)
    assert kills >= KILLS
    bench.check_end()


# --- at random moments -------------------------------------------------------------------------


def killed_after(seconds: float, arguments: list[str], stdin: bytes) -> bool:
    """Start a command and kill it after so long; say whether that was before its end."""
    with subprocess.Popen(
        [*IRONBENCH, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            _, errors = child.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            _, errors = child.communicate()
    if child.returncode == -signal.SIGKILL:
        return True
    assert child.returncode == 0, errors.decode()
    return False


def test_kills_at_random_moments(bench):
    """Each command is killed once within its usual time and then let through, as somebody who tries again."""
    draw = random.Random(20260518)
    usual: dict[str, float] = {}
    kills = 0

    def run(command: Callable[[], list[str]], stdin: bytes = b"") -> None:
        nonlocal kills
        name, sealed = command.__name__, bench.check()
        if name in usual:
            kills += killed_after(usual[name] * draw.random(), command(), stdin)
            bench.check()
            if command == bench.seal and bench.check() > sealed:
                return
        began = time.monotonic()
        assert not killed_after(60, command(), stdin)
        usual.setdefault(name, time.monotonic() - began)
        bench.check()

    while True:
        run(bench.plan)
        run(bench.environment, b'{"cpus": 8}')
        run(bench.pending)
        if due(bench.bundle) is None:
            break
        run(bench.seal, bench.collected())
    run(bench.report)
    # On a machine that is busy meanwhile a command may end before it is killed.
    for _ in range(5 * KILLS):
        if kills >= KILLS:
            break
        run(bench.report)
    assert kills >= KILLS
    bench.check_end()


def test_a_command_that_is_killed_says_nothing_that_is_not_so(bench):
    """The answer comes after the deed: who hears that a run is sealed finds it sealed."""
    subprocess.run([*IRONBENCH, *bench.plan()], check=True, capture_output=True)
    subprocess.run([*IRONBENCH, *bench.environment()], input=b"{}", check=True, capture_output=True)
    asked = subprocess.run([*IRONBENCH, *bench.pending()], check=True, capture_output=True)
    handed_out = [json.loads(asked.stdout)["session"]["run"]]
    command = bench.seal()
    with subprocess.Popen([*IRONBENCH, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(bench.collected())
        child.stdin.close()
        answer = json.loads(child.stdout.readline())
        child.kill()
    assert answer["sealed"] == 1
    assert bench.check() == 1
    handed_out.append(answer["session"]["run"])
    attempts = bundles.read_contents(bench.bundle).attempts
    assert (
        sorted(msgspec.to_builtins([one.run for one in attempts]), key=lambda run: run["position"])
        == handed_out
    )
