"""A second playbook on the same plan, so that two measure one run and the better one is sealed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import msgspec
import pytest

from tests.made import new_bundle, study

IRONBENCH = [sys.executable, "-c", "import sys; from ironbench.cli import main; sys.exit(main())"]
PLAYBOOK = f"""#!{sys.executable}
# As Ansible has it: a worker, forked from the playbook, runs the commands of a task.
import os, subprocess, sys
child = os.fork()
if not child:
    os._exit(subprocess.run(sys.argv[1:]).returncode)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(status, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Start a playbook whose first task is a command of ironbench; it lives until it is told to end."""
    script = tmp_path / "bin" / "ansible-playbook"
    script.parent.mkdir()
    script.write_text(PLAYBOOK)
    script.chmod(0o755)
    started = []

    def call(*arguments: str) -> tuple[subprocess.Popen, int, str]:
        process = subprocess.Popen(
            [script, *IRONBENCH, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        assert process.stdout
        said = process.stdout.readline()
        return process, int(process.stdout.readline()), said

    yield call
    for process in started:
        process.communicate()


def test_it_is_refused_while_the_first_one_lives(tmp_path, start):
    bundle = new_bundle(tmp_path)
    first, status, said = start("hold", str(bundle))
    assert status == 0, said
    told = json.loads(said)
    assert (told["plan"], told["bundle"]) == ("made", str(bundle))
    _, status, refused = start("hold", str(bundle))
    assert status == 2
    assert f"(process {first.pid}) leads {bundle}: wait until it has ended" in refused
    first.communicate()
    _, status, said = start("hold", str(bundle))
    assert (status, json.loads(said)) == (0, told)


def test_one_that_was_killed_keeps_nobody_out(tmp_path, start):
    bundle = new_bundle(tmp_path)
    first, _, told = start("hold", str(bundle))
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert start("hold", str(bundle))[1:] == (0, told)


def test_the_same_playbook_may_say_so_again(tmp_path, start):
    bundle = new_bundle(tmp_path)
    twice = f"import subprocess as s; [s.run({[*IRONBENCH, 'hold', str(bundle)]!r}, check=True) for _ in range(2)]"
    script = tmp_path / "bin" / "ansible-playbook"
    done = subprocess.run(
        [script, sys.executable, "-c", twice],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0", done.stderr


def test_other_plans_of_the_same_results_are_free(tmp_path, start):
    bundle = new_bundle(tmp_path)
    start("hold", str(bundle))
    (tmp_path / "study").mkdir()
    (tmp_path / "study/experiments.yml").write_bytes(msgspec.yaml.encode(study()))
    other = subprocess.run(
        [
            *IRONBENCH,
            "plan",
            "--study",
            tmp_path / "study",
            "--protocol",
            "quick",
            "--results",
            bundle.parent,
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert start("hold", json.loads(other.stdout)["bundle"])[1] == 0
