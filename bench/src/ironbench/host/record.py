"""py-spy at the app's worker, while the load of a session that is not scored runs.

It sits on the housekeeping CPUs and outside of the bench's slice. The CPU time of the app's cgroup is read when it has
begun to sample and when it has ended, and for as long without it, so that its own cost is known.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, write_atomic
from ironbench.flame.plan import LEAD_S
from ironbench.flame.stacks import parse
from ironbench.host import proc, system
from ironbench.host.one_worker import first_cpu
from ironbench.records import SCHEMA, Recorded, Segment

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import SpyMode

PY_SPY = Path("/opt/py-spy/bin/py-spy")
"""Where the role py_spy has it."""
OPTIONS: dict[SpyMode, list[str]] = {"published": [], "idle": ["--idle"], "native": ["--native"]}
RECORD = "recording.json"
SPARE_S = 60.0
"""What py-spy may take beyond its time: native symbols of a large interpreter take seconds."""
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class _Cpu(NamedTuple):
    """CPU time so far, in ms: of the app's cgroup, and of each of its threads."""

    cgroup: float
    threads: dict[tuple[int, int], float]


def record(place: Place) -> dict:
    """Record each mode once the load's window has begun; return the samples by mode.

    A mode in which py-spy fails is noted with its complaint.
    """
    recording = place.session.recording
    if recording is None:
        raise IronbenchError(f"{place.key} is no recording; `ironbench flamegraph plan` makes them.")
    app = next((service for service in place.host.services if service.name == "app"), None)
    if app is None:
        raise IronbenchError(f"{place.host.name} is not in the group app; run this on the host that is.")
    if not PY_SPY.exists():
        raise IronbenchError(f"{PY_SPY} is missing; playbooks/tools.yml brings it (role py_spy).")
    time.sleep(place.session.expected_s - place.session.window_s + LEAD_S)
    cgroup = proc.unified_mount() / system.show(place.service_unit(app))["ControlGroup"].lstrip("/")
    pids = proc.workers(cgroup)
    if not pids:
        raise IronbenchError(f"{place.service_unit(app)} has no process to look at; its journal says why.")
    segments = [_segment(place, mode, cgroup, pids) for mode in recording.modes]
    recorded = Recorded(
        schema=SCHEMA,
        plan=place.session.plan,
        run=place.session.run,
        host=place.host.name,
        py_spy=system.run([str(PY_SPY), "--version"]).strip(),
        pids=pids,
        hz=recording.hz,
        app_cpus=str(first_cpu(app.cpus)),
        spy_cpus=place.host.layout.housekeeping,
        segments=segments,
    )
    write_atomic(place.directory / RECORD, encode_record(recorded))
    return {"samples": {segment.mode: segment.samples for segment in segments}}


def _segment(place: Place, mode: SpyMode, cgroup: Path, pids: list[int]) -> Segment:
    recording = place.session.recording
    assert recording is not None
    spied = _children_ms()
    complaints: list[str] = []
    if mode == "none":
        from_ns, before = time.time_ns(), _cpu(cgroup)
        time.sleep(recording.seconds)
        until_ns, after = time.time_ns(), _cpu(cgroup)
    else:
        running = [_start(place, mode, pid, recording.hz, recording.seconds) for pid in pids]
        for process in running:
            _wait_for_sampling(process)
        from_ns, before = time.time_ns(), _cpu(cgroup)
        deadline = time.monotonic() + recording.seconds
        time.sleep(recording.seconds)
        until_ns, after = time.time_ns(), _cpu(cgroup)
        complaints = [_end(process, deadline + SPARE_S) for process in running]
    complaint = "; ".join(filter(None, complaints))
    threads = sum(
        spent - before.threads[thread] for thread, spent in after.threads.items() if thread in before.threads
    )
    app_cpu_ms = after.cgroup - before.cgroup
    return Segment(
        mode=mode,
        from_ns=from_ns,
        until_ns=until_ns,
        samples=_samples(place, mode, pids) if mode != "none" and not complaint else 0,
        app_cpu_ms=round(app_cpu_ms, 3),
        ended_cpu_ms=round(max(0.0, app_cpu_ms - threads), 3),
        spy_cpu_ms=round(_children_ms() - spied, 3) if mode != "none" else 0.0,
        complaint=complaint,
    )


def _start(place: Place, mode: SpyMode, pid: int, hz: int, seconds: int) -> subprocess.Popen[str]:
    output = place.directory / f"{mode}.{pid}.folded"
    spy = [str(PY_SPY), "record", "--pid", str(pid), "--rate", str(hz), "--duration", str(seconds)]
    spy += ["--format", "raw", "--output", str(output), *OPTIONS[mode]]
    return subprocess.Popen(
        ["taskset", "--cpu-list", place.host.layout.housekeeping, *spy],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for_sampling(process: subprocess.Popen[str]) -> None:
    """Read until py-spy says that it samples, or has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if "Sampling process" in line:
            return


def _end(process: subprocess.Popen[str], deadline: float) -> str:
    """Wait for py-spy's end; return why it failed, or an empty text."""
    try:
        said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "py-spy did not end in time"
    if process.returncode:
        return f"py-spy failed ({process.returncode}): {' '.join(said.split())[-300:]}"
    return ""


def _samples(place: Place, mode: SpyMode, pids: list[int]) -> int:
    files = [place.directory / f"{mode}.{pid}.folded" for pid in pids]
    return sum(
        sum(parse(file.read_text(), str(file)).values())
        for file in files
        if file.exists()  # a worker that was never busy leaves none
    )


def _cpu(cgroup: Path) -> _Cpu:
    told = dict(line.split() for line in (cgroup / "cpu.stat").read_text().splitlines())
    threads = {}
    for pid in proc.cgroup_pids(cgroup):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                threads[pid, int(task.name)] = _thread_ms(task)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return _Cpu(cgroup=int(told["usage_usec"]) / 1000, threads=threads)


def _thread_ms(task: Path) -> float:
    """CPU time of a thread, exact where the kernel keeps it (CONFIG_SCHED_INFO), else by ticks."""
    exact = proc.read_or_none(task / "schedstat")
    if exact:
        return int(exact.split()[0]) / 1e6
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_MS


def _children_ms() -> float:
    """CPU time of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000
