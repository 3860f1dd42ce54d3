"""Writers of what wrk2 and sar print, from samples that the test chooses."""

from __future__ import annotations

import math
from functools import cache

from hdrh.histogram import HdrHistogram

LISTED = (50, 75, 90, 99, 99.9, 99.99, 99.999, 100)
CPU_COLUMNS = ("%usr", "%nice", "%sys", "%iowait", "%steal", "%irq", "%soft", "%guest", "%gnice", "%idle")


# --- wrk2 --------------------------------------------------------------------------------------


def units(us: float) -> str:
    """Print microseconds as wrk2's format_time_us does: the unit changes at 85 % of the next one."""
    if us >= 1_000_000:
        seconds = us / 1e6
        return f"{seconds:.2f}s" if seconds < 51 else f"{seconds / 60:.2f}m"
    return f"{us:.2f}us" if us < 850 else f"{us / 1000:.2f}ms"


def histogram(samples_us) -> HdrHistogram:
    return _histogram(tuple(samples_us))


@cache
def _histogram(samples_us) -> HdrHistogram:
    made = HdrHistogram(1, 24 * 3600 * 1_000_000, 3)
    for sample in samples_us:
        made.record_value(round(sample))
    return made


@cache
def mean_and_stdev(made: HdrHistogram) -> tuple[float, float]:
    return made.get_mean_value(), made.get_stddev()


def distribution(samples_us, kind: str = "Recorded Latency") -> list[str]:
    """Write the block of ``--latency``; no samples give what wrk2 prints for none."""
    made = histogram(samples_us)
    count = made.get_total_count()
    lines = [f"  Latency Distribution (HdrHistogram - {kind})"]
    lines += [f"{p:7.3f}%{units(made.get_value_at_percentile(p) if count else 0):>10}" for p in LISTED]
    lines += ["", "  Detailed Percentile spectrum:"]
    lines += [f"{'Value':>12} {'Percentile':>12} {'TotalCount':>12} {'1/(1-Percentile)':>12}", ""]
    if not count:
        lines.append(f"{0:12.3f} {1:12.6f} {0:12d} {'inf':>12}")
    for value, level, reached in steps(made):
        inverse = f"{1 / (1 - level):12.2f}" if level < 1 else f"{'inf':>12}"
        lines.append(f"{value / 1000:12.3f} {level:12.6f} {reached:12d} {inverse}")
    mean, stdev = (f"{us / 1000:12.3f}" if count else f"{'-nan':>12}" for us in mean_and_stdev(made))
    lines += [
        f"#[Mean    = {mean}, StdDeviation   = {stdev}]",
        f"#[Max     = {largest_us(made) / 1000:12.3f}, Total count    = {count:12d}]",
        f"#[Buckets = {27:12d}, SubBuckets     = {2048:12d}]",
        "----------------------------------------------------------",
    ]
    return lines


def steps(made: HdrHistogram):
    """Yield (us, share, samples so far) as HdrHistogram's C code does with 5 ticks a half distance."""
    count, level = made.get_total_count(), 0.0
    for bucket in made.get_recorded_iterator() if count else ():
        reached = bucket.total_count_to_this_value
        while level <= 100 * reached / count:
            yield bucket.value_iterated_to, level / 100, reached
            level += 100 / (5 * 2 ** (int(math.log2(100 / (100 - level))) + 1))
            if reached == count:
                yield bucket.value_iterated_to, 1.0, count
                return


def largest_us(made: HdrHistogram) -> int:
    """Return what hdr_max of C gives, the lowest value of the largest one's bucket."""
    return made.get_lowest_equivalent_value(made.get_max_value()) if made.get_total_count() else 0


def wrk2_log(
    samples_us=(665_000, 640_000, 671_000, 650_000) * 25,
    *,
    requests=None,
    duration_s=30.02,
    header="30s",
    threads=2,
    connections=4,
    url="http://127.0.0.1:8000/api/v1/access/signup",
    calibrated=True,
    latency=True,
    uncorrected_us=None,
    errors=None,
    non_2xx=0,
) -> str:
    """Write the output of one run."""
    made = histogram(samples_us)
    requests = made.get_total_count() + 48 if requests is None else requests
    lines = [f"Running {header} test @ {url}", f"  {threads} threads and {connections} connections"]
    if calibrated:
        lines += ["  Thread calibration: mean lat.: 665.002ms, rate sampling interval: 1360ms"] * threads
    lines.append("  Thread Stats   Avg      Stdev     Max   +/- Stdev")
    if made.get_total_count():
        mean, stdev = map(units, mean_and_stdev(made))
    else:
        mean = stdev = "-nanus"
    lines.append(f"    Latency   {mean:>8} {stdev:>9} {units(largest_us(made)):>8}   63.00%")
    rates = "1.71      0.45     2.00    100.00%" if calibrated else "-nan      -nan   0.00      0.00%"
    lines.append(f"    Req/Sec     {rates}")
    if latency:
        lines += distribution(samples_us)
    if uncorrected_us is not None:
        lines += ["", *distribution(uncorrected_us, UNCORRECTED)]
    lines.append(f"  {requests} requests in {units(duration_s * 1e6)}, 60.24KB read")
    if errors:
        lines.append("  Socket errors: connect {}, read {}, write {}, timeout {}".format(*errors))
    if non_2xx:
        lines.append(f"  Non-2xx or 3xx responses: {non_2xx}")
    lines += [f"Requests/sec: {requests / duration_s:9.2f}", f"Transfer/sec: {'2.01KB':>11}"]
    return "\n".join(lines) + "\n"


UNCORRECTED = "Uncorrected Latency (measured without taking delayed starts into account)"


# --- sar ---------------------------------------------------------------------------------------


def stamp(second: int, clock: int = 24) -> str:
    """Write a time of day, seconds since midnight."""
    hour, minute, second = second // 3600 % 24, second // 60 % 60, second % 60
    if clock == 24:
        return f"{hour:02d}:{minute:02d}:{second:02d}"
    return f"{(hour - 1) % 12 + 1:02d}:{minute:02d}:{second:02d} {'AM' if hour < 12 else 'PM'}"


def sar_report(*sections: list[str], date="2026-05-18", cpus=2) -> str:
    heading = f"Linux 6.1.0-45-amd64 (debian) \t{date} \t_x86_64_\t({cpus} CPU)"
    return "\n".join([heading, *(line for section in sections for line in ["", *section])]) + "\n"


def cpu_section(
    seconds=10,
    *,
    start=46_770,
    clock=24,
    cpus=(0, 1),
    busy=lambda _cpu, _second: 0.0,
    soft=2.0,
    every=1000,
    average="Average:",
    average_usr=None,
) -> list[str]:
    """Write ``-u ALL -P ALL``: %usr is ``busy(cpu, second)`` in the seconds from 1 on."""
    lines = []
    header = "".join(f"{column:>10}" for column in ("CPU", *CPU_COLUMNS))
    for second in range(1, seconds + 1):
        if (second - 1) % every == 0:
            lines += ["", stamp(start + second - 1, clock) + header]
        at = stamp(start + second, clock)
        shares = [busy(cpu, second) for cpu in cpus]
        lines.append(at + _cpu_row("all", sum(shares) / len(cpus), soft))
        lines += [at + _cpu_row(cpu, share, soft) for cpu, share in zip(cpus, shares, strict=True)]
    for cpu in ("all", *cpus):
        mean = sum(busy(0 if cpu == "all" else cpu, s) for s in range(1, seconds + 1)) / seconds
        lines.append(average + _cpu_row(cpu, mean if average_usr is None else average_usr, soft))
    return lines[1:]


def _cpu_row(cpu, usr, soft) -> str:
    figures = [usr, 0, 0, 0, 0, 0, soft, 0, 0, 100 - usr - soft]
    return f"{cpu!s:>10}" + "".join(f"{figure:>10.2f}" for figure in figures)


def plain_section(columns, rows, *, start=46_770, clock=24, average=None) -> list[str]:
    """Write a section with one row a second; ``average`` is its last row, the means by default."""
    lines = [stamp(start, clock) + "".join(f"{column:>10}" for column in columns)]
    lines += [
        stamp(start + second, clock) + "".join(f"{figure:>10.2f}" for figure in row)
        for second, row in enumerate(rows, 1)
    ]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)] if average is None else average
    return [*lines, "Average:" + "".join(f"{figure:>10.2f}" for figure in means)]
