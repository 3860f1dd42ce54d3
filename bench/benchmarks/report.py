# ruff: noqa: INP001 - a script
"""How long a report takes, and how much memory, for bundles of 100, 1,000 and 10,000 runs.

``make benchmark-report``. Prints figures and the targets beside them; asserts nothing. The bundles are made up
(bench/tests/full_plan.py): three experiments, five sides, as many blocks as it takes. Each is reported on by a
process of its own, ``ironbench report``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.full_plan import SIDES, full_bundle  # noqa: E402 - from this repository, once it can be found

SIZES = (100, 1_000, 10_000)
TARGET_S, TARGET_MIB = 60, 1024
WRITTEN = ("report.html", "report.md", "results.json", "runs.csv", "runs.parquet", "benchmarks.txt")


def main() -> None:
    """Make and measure each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="RUNS")
    args = parser.parse_args()
    print(
        f"target: 10,000 runs in less than {TARGET_S} s and {TARGET_MIB} MiB, and time in proportion to runs\n"
    )
    print(f"{'runs':>7} {'seconds':>8} {'ms a run':>9} {'peak MiB':>9}   files, KiB")
    for size in args.sizes:
        with tempfile.TemporaryDirectory(prefix="ironbench-") as directory:
            bundle = full_bundle(Path(directory), blocks=max(1, round(size / SIDES)))
            runs = sum(1 for _ in bundle.glob("runs/*/*/*/run.json"))
            seconds, peak_mib = _report(bundle)
            files = ", ".join(
                f"{name} {(bundle / name).stat().st_size / 1024:.0f}"
                for name in WRITTEN
                if (bundle / name).exists()
            )
        print(f"{runs:7} {seconds:8.1f} {1000 * seconds / runs:9.2f} {peak_mib:9.0f}   {files}", flush=True)


def _report(bundle: Path) -> tuple[float, float]:
    """Return wall time in seconds and peak resident memory in MiB of one process."""
    started = time.monotonic()
    command = [Path(sys.executable).parent / "ironbench", "report", bundle]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"ironbench: the report of {bundle} failed ({os.waitstatus_to_exitcode(status)}).")
    return seconds, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
