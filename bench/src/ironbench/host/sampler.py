"""The CPU sampler: ``python -m ironbench.host.sampler RECORD MOUNT SECONDS``.

RECORD holds its header already (see ironbench.collect.cgroup), MOUNT is the cgroup v2 hierarchy. The
sampler adds ten samples a second, at whole tenths of CLOCK_REALTIME, and ends by itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from ironbench.collect.cgroup import STAT_COLUMNS, Header, Sample

INTERVAL_NS = 100_000_000
CLOCK_EVERY = 10
"""Samples from one reading of /proc/cpuinfo to the next: with many CPUs it is the dearest of all."""
WHOLE_FILE = 1 << 20


class Counter:
    """``usage_usec`` of one cgroup, which may come, go, and come again."""

    def __init__(self, cgroup: Path) -> None:
        self._path = cgroup / "cpu.stat"
        self._file = -1

    def read(self) -> int | None:
        """Return the microseconds, or None while there is no such cgroup."""
        if self._file >= 0:
            try:
                return _usage(self._file)
            except OSError:  # ENODEV: the cgroup behind the open file was removed
                os.close(self._file)
                self._file = -1
        try:
            self._file = os.open(self._path, os.O_RDONLY)
            return _usage(self._file)
        except OSError:
            return None


def _usage(file: int) -> int:
    # cpu.stat begins with "usage_usec N\n".
    return int(os.pread(file, 64, 0).split(None, 2)[1])


def cpu_lines(file: int) -> list[list[bytes]]:
    """Fields of the lines ``cpuN ...`` of /proc/stat, which stand together at its beginning."""
    text = os.pread(file, WHOLE_FILE, 0)
    return [line.split() for line in text[: text.index(b"\nintr")].split(b"\n")[1:]]


def clocks(file: int) -> list[float]:
    """MHz by CPU from /proc/cpuinfo; empty on architectures where it does not tell."""
    lines = os.pread(file, WHOLE_FILE, 0).split(b"\n")
    return [float(line.rpartition(b":")[2]) for line in lines if line.startswith(b"cpu MHz")]


def sample(record: Path, mount: Path, seconds: float) -> None:
    """Add samples to ``record`` for that many seconds."""
    header = msgspec.json.decode(record.read_bytes().splitlines()[0], type=Header)
    counters = [Counter(mount / path.lstrip("/")) for path in header.cgroups.values()]
    stat = os.open("/proc/stat", os.O_RDONLY)
    cpuinfo = os.open("/proc/cpuinfo", os.O_RDONLY)
    out = os.open(record, os.O_WRONLY | os.O_APPEND)
    encode = msgspec.json.Encoder().encode
    columns = slice(1, 1 + len(STAT_COLUMNS))
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        time.sleep((INTERVAL_NS - time.time_ns() % INTERVAL_NS) / 1e9)
        now = time.time_ns()
        usage = [counter.read() for counter in counters]
        jiffies = [list(map(int, line[columns])) for line in cpu_lines(stat)]
        mhz = clocks(cpuinfo) if count % CLOCK_EVERY == 0 else []
        os.write(out, encode(Sample(now, usage, jiffies, mhz)) + b"\n")
        count += 1


if __name__ == "__main__":
    sample(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
