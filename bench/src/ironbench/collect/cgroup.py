"""cgroup.jsonl, the sampler's record of CPU counters, and the CPU work of each service from it.

The first line is a Header, every other line a Sample. The counters are ``usage_usec`` of cgroup v2
(``cpu.stat``), which the scheduler keeps to the nanosecond and brings up to date at each switch and
each tick: a reading lags by at most one tick (1-10 ms) for every CPU that is busy at that moment, and
not at all for a cgroup that is idle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.judge import bench_cpus
from ironbench.records import SCHEMA, Host, LoadResult, ServiceCpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LOAD_GENERATOR = "load_generator"
OTHER = "other"
ROOT = "root"
SLICE = "slice"

STAT_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Of a CPU's line in /proc/stat; ``user`` includes guest time, see proc_stat(5)."""
OFF = [STAT_COLUMNS.index(name) for name in ("idle", "iowait", "steal")]
LATE_S = 1.0
"""After the last answer, in which work counts that a service has put off beyond the window: longer than a scheduler, a
collector of garbage or a log needs to come to rest, and as short as a session of half a minute affords. Work that is
put off for longer is not seen; docs/methodology.md says so."""
JIFFY_MS = 10
"""Unit of /proc/stat (USER_HZ is 100 on all that Debian supports)."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the samples' columns are."""

    schema: int
    cgroups: dict[str, str]
    """Name -> path below the cgroup mount, in the order of ``Sample.usage``: services by name,
    ``load_generator`` where there is one, ``slice``, ``root``, and each child of the root cgroup by
    its path."""
    cpus: list[int]
    """In the order of ``Sample.stat``."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line: ``[ns, [usage_usec...], [[jiffies...]...], [MHz...]]``."""

    ns: int
    usage: list[int | None]
    """None: the cgroup does not exist at this moment."""
    stat: list[list[int]]
    """By CPU, STAT_COLUMNS in units of 10 ms."""
    mhz: list[float]
    """By CPU; empty where the kernel does not tell and in samples that did not read it."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A whole record, with counters that never fall."""

    header: Header
    ns: list[int]
    usage: dict[str, list[int | None]]
    """Name -> microseconds used until then, through restarts of the unit; None before it first ran."""
    off_ms: dict[int, list[int | None]]
    """CPU -> milliseconds in which it did nothing for this machine: idle, iowait and steal. Exact to the
    10 ms of /proc/stat where the kernel stops the tick in idle, as Debian's does."""
    mhz: list[tuple[int, list[float]]]
    """(ns, MHz by CPU) of the samples that have it."""


def read(path: Path) -> Samples:
    """Read cgroup.jsonl; a last line that was cut off when the sampler was stopped is left out.

    Raises IronbenchError when the file is missing, has another schema, or is not such a record.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
    decoder = msgspec.json.Decoder(Sample)
    try:
        header = msgspec.json.decode(lines[0], type=Header)
        samples = [decoder.decode(line) for line in lines[1:-1]]
    except msgspec.DecodeError as error:
        raise IronbenchError(f"{path} is not a sampler's record: {error}.") from error
    if header.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {header.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    if not samples:
        raise IronbenchError(f"{path} holds no sample: the sampler died at once; its journal says why.")
    columns = zip(*(sample.usage for sample in samples), strict=True)
    return Samples(
        header=header,
        ns=[sample.ns for sample in samples],
        usage={name: _never_falling(column) for name, column in zip(header.cgroups, columns, strict=True)},
        off_ms={
            cpu: [sum(sample.stat[i][column] for column in OFF) * JIFFY_MS for sample in samples]
            for i, cpu in enumerate(header.cpus)
        },
        mhz=[(sample.ns, sample.mhz) for sample in samples if sample.mhz],
    )


def service_cpu(
    samples: Samples, host: Host, load: LoadResult, background: LoadResult | None = None
) -> list[ServiceCpu]:
    """CPU work between first send and drained: of each service, the load generator, and ``other``.

    Services are idle just before the first send and just after the last answer, so the counter is
    taken from the last sample before the one and the first sample after the other, not interpolated
    between samples on either side of a step. The at most two sampling intervals (0.2 s) of quiet time
    that this adds are taken out again at the idle rate. Error of ``net_ms``: the work in those 0.2 s
    that is not at the idle rate; with nothing but idle work around, 0.2 s x the rate's own
    unsteadiness. After a saturated window, work on requests that were given up may go on: then the
    error is at most 0.1 s x the CPUs in use, 0.3 % of a 30 s window at full use.

    The generator starts to write its files when it has drained, so its counter ends with the last
    sample before that; error at most 0.1 s of its work (``LoadResult.cpu_ms`` is exact).

    The idle rate is taken between the first and the last sample in [idle_from, idle_until]. ``other``
    is everything in a cgroup that is neither: all children of the root cgroup less services and
    generator. Kernel threads, interrupts, and what runs outside of the container are in no cgroup
    here.

    ``late_ms`` is what a service did between that sample and the first one at least LATE_S after ``drained``, idle
    work included; 0 where the record ends before. With a background the work of the two loads cannot be told apart, so
    figures per request are over the requests of both. Only answers with the expected status count: an error is
    cheap, and serves nobody.

    Raises IronbenchError when the samples do not cover the quiet time and the window.
    """
    _must_cover(samples, load)
    cpus = {service.name: service.cpus for service in host.services}
    own = set(cpus)
    cpus[LOAD_GENERATOR] = host.layout.load_generator
    measured = [name for name in samples.header.cgroups if name in cpus]
    expected = load.expected + (background.expected if background else 0)
    result = []
    for name in [*measured, OTHER]:
        total_us, idle_us_per_ns = _work(samples, name, measured, load)
        span_ns = load.drained_ns - load.first_send_ns
        net_ms = (total_us - idle_us_per_ns * span_ns) / 1e3
        # The generator works then: it writes its files.
        late_ms = _late_us(samples, name, load) / 1e3 if name in own else 0.0
        result.append(
            ServiceCpu(
                service=name,
                cgroup=samples.header.cgroups.get(name, ""),
                cpus=cpus.get(name, host.layout.housekeeping),
                total_ms=total_us / 1e3,
                idle_ms_per_s=idle_us_per_ns * 1e6,
                net_ms=net_ms,
                per_request_ms=net_ms / expected if expected else 0.0,
                late_ms=late_ms,
            )
        )
    return result


def mean_mhz(samples: Samples, host: Host, load: LoadResult) -> float | None:
    """Mean clock of the host's bench CPUs over the samples in the window; None where there is none."""
    columns = [i for i, cpu in enumerate(samples.header.cpus) if cpu in bench_cpus(host)]
    seen = [
        mhz[i]
        for ns, mhz in samples.mhz
        if load.first_send_ns <= ns <= load.drained_ns
        for i in columns
        if i < len(mhz)
    ]
    return sum(seen) / len(seen) if seen else None


def used_us(samples: Samples, names: Sequence[str], ns: int) -> float:
    """Microseconds that the named cgroups had used together at ``ns``, interpolated linearly."""
    return sum(_interpolated(samples.usage[name], samples.ns, ns) for name in names)


def nonidle_ms(samples: Samples, cpus: Iterable[int], from_ns: int, until_ns: int) -> float:
    """Milliseconds in which the CPUs did anything, by their exact idle time."""
    elapsed_ms = (until_ns - from_ns) / 1e6
    return sum(
        elapsed_ms
        - _interpolated(samples.off_ms[cpu], samples.ns, until_ns)
        + _interpolated(samples.off_ms[cpu], samples.ns, from_ns)
        for cpu in cpus
        if cpu in samples.off_ms
    )


def top_level(samples: Samples) -> list[str]:
    """Return the children of the root cgroup; together they hold everything but the root's own threads."""
    return [name for name in samples.header.cgroups if name.startswith("/")]


def _never_falling(column: Sequence[int | None]) -> list[int | None]:
    """Add up a counter through restarts: where it falls, its cgroup was made anew and began at 0."""
    result: list[int | None] = []
    total: int | None = None
    last = 0
    for value in column:
        if value is not None:
            total = (total or 0) + (value - last if value >= last else value)
            last = value
        result.append(total)
    return result


def _work(samples: Samples, name: str, measured: list[str], load: LoadResult) -> tuple[float, float]:
    """Return (microseconds between first send and drained, idle rate in microseconds per ns)."""
    if name == OTHER:
        whole = [_work(samples, top, measured, load) for top in top_level(samples)]
        parts = [_work(samples, part, measured, load) for part in measured]
        total, idle = (sum(w[i] for w in whole) - sum(p[i] for p in parts) for i in (0, 1))
        return total, idle
    first, last = _at_or_after(samples, load.idle_from_ns), _at_or_before(samples, load.idle_until_ns)
    idle = _gained(samples, name, first, last) / (samples.ns[last] - samples.ns[first])
    first = _at_or_before(samples, load.first_send_ns)
    last = (_at_or_before if name == LOAD_GENERATOR else _at_or_after)(samples, load.drained_ns)
    extra_ns = (samples.ns[last] - samples.ns[first]) - (load.drained_ns - load.first_send_ns)
    return _gained(samples, name, first, last) - idle * extra_ns, idle


def _late_us(samples: Samples, name: str, load: LoadResult) -> float:
    """Return microseconds of work in the second after the window had drained."""
    first = _at_or_after(samples, load.drained_ns)
    last = _at_or_after(samples, load.drained_ns + round(LATE_S * 1e9))
    return _gained(samples, name, first, last) if last < len(samples.ns) else 0.0


def _gained(samples: Samples, name: str, first: int, last: int) -> int:
    counter = samples.usage[name]
    return (counter[last] or 0) - (counter[first] or 0)


def _at_or_before(samples: Samples, ns: int) -> int:
    return bisect_right(samples.ns, ns) - 1


def _at_or_after(samples: Samples, ns: int) -> int:
    return bisect_left(samples.ns, ns)


def _interpolated(counter: list[int | None], times: list[int], ns: int) -> float:
    right = min(max(bisect_left(times, ns), 1), len(times) - 1)
    before, after = counter[right - 1] or 0, counter[right] or 0
    share = (ns - times[right - 1]) / (times[right] - times[right - 1])
    return before + (after - before) * min(max(share, 0.0), 1.0)


def _must_cover(samples: Samples, load: LoadResult) -> None:
    quiet = 1 + _at_or_before(samples, load.idle_until_ns) - _at_or_after(samples, load.idle_from_ns)
    if quiet < 2:
        raise IronbenchError(
            f"the sampler left {max(quiet, 0)} samples of the quiet time before the window, and an idle rate "
            "needs 2: make idle_s longer, or look why the sampler was not running."
        )
    if samples.ns[-1] < load.drained_ns:
        raise IronbenchError(
            f"the sampler's record ends {(load.drained_ns - samples.ns[-1]) / 1e9:.1f} s before the window "
            "was drained: the sampler died or was stopped too early."
        )
