"""Two instruments on the same CPUs in the same time: cgroup counters against sar."""

from __future__ import annotations

import math

from ironbench.collect.cgroup import LOAD_GENERATOR, Samples, nonidle_ms, top_level, used_us
from ironbench.collect.sar import SECOND_NS, CpuSample, cpu_samples
from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.records import CpuCheck, Host, LoadResult

TICK_MS = 10.0
"""Longest tick of a Linux kernel (CONFIG_HZ=100); Debian's is 4 ms."""


def cpu_check(samples: Samples, sar_json: bytes, host: Host, load: LoadResult) -> list[CpuCheck]:
    """Compare, for each set of CPUs that the host's services and generator live on.

    Sets that overlap are merged. Both sides are taken over the same whole seconds, those that
    ``ironbench.collect.sar.core_use`` takes too, and both less their own rate over sar's samples in the
    quiet time before:

    - ``sar_ms``: usr + nice + sys + irq + soft + guest + gnice of these CPUs. steal and iowait are no
      work. The relative figures count at least one tick here.
    - ``cgroup_ms``: the cgroups that live on these CPUs: the services and the generator laid out
      there; on a set that holds housekeeping CPUs everything in any cgroup instead, less the cgroups
      that live on other sets.
    - ``nonidle_ms``: elapsed time less idle, iowait and steal in /proc/stat, from the sampler.

    ``foreign_ms`` is what the CPUs did in the window beyond those cgroups, by the last figure, with
    nothing taken off: foreign work that was there in the quiet time already is foreign work too.

    What makes them differ, apart from foreign work on these CPUs:

    - Ticks. With CONFIG_TICK_CPU_ACCOUNTING who runs at the tick gets the whole tick in usr, sys or
      soft. For work that keeps no time with the tick the sum is right in the mean and has the error of
      a count, 1/sqrt(ticks), of which ``sampling_error`` is the figure for the longest possible tick:
      2 % at 60 % of a CPU for 30 s, 8 % at 5 %. Work that does keep time with it may be seen too often
      or too rarely for the whole window: at 600 or 1000 even arrivals per second and 250 ticks the
      phases repeat every 20 or 4 ms. Measured in quiet seconds of 600 even loopback requests per
      second: the CPU's tasks ran 664 ms, usr + sys + irq + soft held 180.
    - Idle time is measured, not counted in ticks, where the kernel stops the tick in idle (NO_HZ), so
      ``nonidle_ms`` does not have that error. Against the scheduler's own account of all tasks of the
      CPU it was higher by 0.1-0.3 % at steady load and in 5 % bursts, 0.1-0.7 % at 600 wake-ups and 1.2-1.5 %
      at 600 loopback requests per second, and 8 % (716 ms) in
      those same quiet seconds: what the CPU does between tasks. sar cannot show this figure: it divides
      by the sum of its columns, which falls short of the time that passed when ticks were missed.
    - Kernel threads (ksoftirqd, kworker) and interrupts in idle: in sar, in no cgroup of the bench.
      Interrupts while a service runs are in both, unless the kernel has CONFIG_IRQ_TIME_ACCOUNTING:
      then in sar only (irq, soft).

    Raises IronbenchError when sar's samples do not cover the window or the quiet time.
    """
    records = cpu_samples(sar_json)
    first = load.first_send_ns // SECOND_NS * SECOND_NS
    last = load.drained_ns // SECOND_NS * SECOND_NS
    window = [s for s in records if first <= s.from_ns and s.until_ns <= last]
    quiet = [s for s in records if load.idle_from_ns <= s.from_ns and s.until_ns <= load.idle_until_ns]
    if not window or not quiet or max(s.until_ns for s in window) < last:
        raise IronbenchError(
            "sar's samples do not cover the quiet time and the window: sar died, or idle_s is below 1.1 s."
        )
    return [_compare(samples, host, cpus, window, quiet) for cpus in _sets(samples, host)]


def _compare(
    samples: Samples, host: Host, cpus: set[int], window: list[CpuSample], quiet: list[CpuSample]
) -> CpuCheck:
    added, taken_off = _residents(samples, host, cpus)

    def cgroup_ms(part: list[CpuSample]) -> float:
        start, end = _span(part)
        used = [used_us(samples, names, end) - used_us(samples, names, start) for names in (added, taken_off)]
        return (used[0] - used[1]) / 1e3

    def sar_ms(part: list[CpuSample]) -> float:
        return sum(s.use.busy * (s.until_ns - s.from_ns) / 1e8 for s in part if s.cpu in cpus)

    def nonidle(part: list[CpuSample]) -> float:
        return nonidle_ms(samples, cpus, *_span(part))

    ratio = _length(window) / _length(quiet)
    gross, idle = sar_ms(window), sar_ms(quiet)
    net_sar = gross - idle * ratio
    net_cgroup = cgroup_ms(window) - cgroup_ms(quiet) * ratio
    seen = max(net_sar, TICK_MS)
    return CpuCheck(
        cpus=",".join(map(str, sorted(cpus))),
        cgroup_ms=net_cgroup,
        sar_ms=net_sar,
        difference=net_cgroup / seen - 1,
        sampling_error=math.sqrt(TICK_MS * (gross + idle * ratio**2)) / seen,
        nonidle_ms=nonidle(window) - nonidle(quiet) * ratio,
        foreign_ms=nonidle(window) - cgroup_ms(window),
    )


def _laid_out(samples: Samples, host: Host) -> dict[str, set[int]]:
    """Return the CPUs of each measured cgroup of the host."""
    laid_out = {service.name: service.cpus for service in host.services}
    laid_out[LOAD_GENERATOR] = host.layout.load_generator
    return {name: set(parse_cpu_list(laid_out[name])) for name in samples.header.cgroups if name in laid_out}


def _sets(samples: Samples, host: Host) -> list[set[int]]:
    merged: list[set[int]] = []
    for cpus in _laid_out(samples, host).values():
        touched = [other for other in merged if other & cpus]
        merged = [other for other in merged if not other & cpus] + [cpus.union(*touched)]
    return sorted(merged, key=min)


def _residents(samples: Samples, host: Host, cpus: set[int]) -> tuple[list[str], list[str]]:
    """Return the cgroups whose use counts for a set of CPUs, and those to take off again."""
    laid_out = _laid_out(samples, host)
    if cpus.isdisjoint(parse_cpu_list(host.layout.housekeeping)):
        return [name for name, own in laid_out.items() if own <= cpus], []
    return top_level(samples), [name for name, own in laid_out.items() if own.isdisjoint(cpus)]


def _span(part: list[CpuSample]) -> tuple[int, int]:
    return min(s.from_ns for s in part), max(s.until_ns for s in part)


def _length(part: list[CpuSample]) -> int:
    start, end = _span(part)
    return end - start
