"""Somebody puts a link into results/, and root gives the file that it leads to to the one who calls make bench."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
SOMEBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def give(directory):
    """Do what the Makefile does when a plan on the sandbox has ended."""
    return subprocess.run(
        [sys.executable, TOP / "tools/own_results.py", f"{SOMEBODY}:{SOMEBODY}", directory],
        capture_output=True,
        text=True,
        check=False,
    )


def owner(path):
    return path.lstat().st_uid


@pytest.fixture
def results(tmp_path):
    made = tmp_path / "results"
    (made / "bundle/runs").mkdir(parents=True)
    (made / "bundle/plan.json").write_text("{}")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/shadow").write_text("secret")
    return made


def test_results_are_given(results):
    done = give(results)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {owner(path) for path in (results, *results.rglob("*"))} == {SOMEBODY}


def test_hard_link_to_a_file_of_root(results, tmp_path):
    os.link(tmp_path / "etc/shadow", results / "bundle/mine")
    done = give(results)
    assert "bundle/mine' keeps its owner" in done.stderr
    assert owner(tmp_path / "etc/shadow") == 0
    assert owner(results / "bundle/plan.json") == SOMEBODY


def test_symbolic_links(results, tmp_path):
    (results / "file").symlink_to(tmp_path / "etc/shadow")
    (results / "directory").symlink_to(tmp_path / "etc")
    give(results)
    assert (owner(tmp_path / "etc"), owner(tmp_path / "etc/shadow")) == (0, 0)


def test_results_are_a_link_themselves(results, tmp_path):
    results.rename(tmp_path / "elsewhere")
    results.symlink_to(tmp_path / "etc")
    done = give(results)
    assert done.returncode == 2
    assert "make it a directory and no link to one" in done.stderr
    assert (owner(tmp_path / "etc"), owner(tmp_path / "etc/shadow")) == (0, 0)


def test_makefile_uses_nothing_else():
    assert "chown" not in "".join(
        line for line in (TOP / "Makefile").read_text().splitlines() if not line.startswith("#")
    )
