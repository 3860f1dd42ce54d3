"""The same bundle gives the same bytes on another version of Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1]
FILES = ("report.html", "report.md", "results.json", "runs.csv", "benchmarks.txt")
"""Not runs.parquet: its bytes depend on pyarrow."""
OTHERS = [f"3.{minor}" for minor in (11, 12, 13) if minor != sys.version_info.minor]


def find(version):
    """Return an interpreter that runs: the one on PATH, or pyenv's newest."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [
        shutil.which(f"python{version}"),
        *sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True),
    ]
    for python in filter(None, found):
        told = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if told.stdout.strip() == version:
            return str(python)
    return None


@pytest.fixture(scope="module", params=OTHERS)
def other_ironbench(request, tmp_path_factory):
    """Install ironbench with its locked dependencies for another Python; return the command."""
    python, uv = find(request.param), shutil.which("uv")
    if python is None or uv is None:
        pytest.skip(f"there is no {'uv' if uv is None else f'Python {request.param}'} on this machine")
    venv = tmp_path_factory.mktemp("python") / "venv"
    install = [uv, "pip", "install", "--quiet", "--python", venv]
    for command in (
        [uv, "venv", "--quiet", "--python", python, venv],
        [*install, "--requirements", BENCH / "lock.txt"],
        [*install, "--no-deps", BENCH],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode and "lock.txt" in map(str, command) and "error sending request" in done.stderr:
            pytest.skip("the package index cannot be reached")
        assert done.returncode == 0, done.stderr
    return venv / "bin" / "ironbench"


def test_another_python_writes_the_same_bytes(full, other_ironbench, tmp_path):
    bundle = full[0]
    there = tmp_path / "elsewhere"
    shutil.copytree(bundle, there)
    for name in FILES:
        (there / name).unlink()
    # Another seed of hashes too: no order of a set may reach a report.
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    subprocess.run([other_ironbench, "report", there], check=True, capture_output=True, env=environment)
    for name in FILES:
        assert (there / name).read_bytes() == (bundle / name).read_bytes(), name
