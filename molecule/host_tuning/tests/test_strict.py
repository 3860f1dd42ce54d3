"""The strict set in a container, whose /sys is the whole machine's: it is recorded and nothing is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from controller import changed, play

ONE = "--limit=molecule-host_tuning-13"
HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
MINE = "/etc/tmpfiles.d/60-ironbench.conf"


@pytest.fixture(scope="module")
def strict():
    import testinfra  # noqa: PLC0415 - in the controller only

    return testinfra.get_host("docker://molecule-host_tuning-13")


def test_the_machines_files_are_left_alone_where_they_could_be_written(strict):
    assert strict.run(f"test -w {HUGE_PAGES}").rc == 0
    before = json.loads(strict.file("/etc/ironbench/host_tuning.original.json").content_string)
    assert f"[{before[HUGE_PAGES]}]" in strict.file(HUGE_PAGES).content_string
    assert [line for line in strict.file(MINE).content_string.splitlines() if line.startswith("w")] == []


def test_what_cannot_be_controlled_is_told():
    done = play("playbooks/host.yml", "host_tuning", ONE)
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "not controllable here, recorded: " in said
    assert f"{HUGE_PAGES} is " in said
    assert changed(done) == {"molecule-host_tuning-13": 0}


def test_or_is_a_failure_where_that_is_wanted():
    done = play("playbooks/host.yml", "host_tuning", ONE, "--extra-vars", "host_tuning_mismatch=fail")
    assert done.returncode != 0
    assert "Not controllable here: " in done.stdout


def test_without_it_the_owned_file_goes(strict):
    done = play(
        "playbooks/host.yml", "host_tuning", ONE, "--extra-vars", json.dumps({"host_tuning_strict": False})
    )
    assert done.returncode == 0, done.stdout
    assert not strict.file(MINE).exists
    again = play(
        "playbooks/host.yml", "host_tuning", ONE, "--extra-vars", json.dumps({"host_tuning_strict": False})
    )
    assert changed(again) == {"molecule-host_tuning-13": 0}
    mended = play("playbooks/host.yml", "host_tuning", ONE)
    assert mended.returncode == 0, mended.stdout
