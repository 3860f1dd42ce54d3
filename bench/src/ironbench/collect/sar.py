"""sar's samples: per-CPU use and the system's rates, from sar.json (``sadf -j``).

sar stamps a sample with the second at which it was taken; it covers the interval before that. The
observer takes its samples just after whole seconds of CLOCK_REALTIME, so the stamp is exact to
some 40 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ironbench.errors import IronbenchError
from ironbench.records import CoreUse, Record, SarColumn, SystemUse

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND_NS = 1_000_000_000
DAY_S = 86_400
RUN_QUEUE = "runq-sz"
SWITCHES = "cswch/s"
FORKS = "proc/s"
_SYSTEM = {RUN_QUEUE: "runq_sz", SWITCHES: "cswch_per_s", FORKS: "proc_per_s"}
"""Fields of SystemUse by sar's column."""
EPOCH = 1971
"""First year whose samples all start after 1970."""


class _Stamp(msgspec.Struct):
    date: str
    time: str
    interval: int
    utc: int = 0
    """1 for UTC, until sysstat 12.6."""
    tz: str = ""
    """Since sysstat 12.7."""


class CpuColumns(msgspec.Struct, kw_only=True):
    """One CPU's row of ``-u ALL -P ALL``, per cent of the interval; ``cpu`` may be "all"."""

    cpu: str
    usr: float
    nice: float
    sys: float
    iowait: float
    steal: float
    irq: float
    soft: float
    guest: float
    gnice: float
    idle: float

    @property
    def busy(self) -> float:
        """Per cent of the time in which the CPU did anything for this machine."""
        return self.usr + self.nice + self.sys + self.irq + self.soft + self.guest + self.gnice


class _Statistics(msgspec.Struct):
    timestamp: _Stamp
    cpus: list[CpuColumns] = msgspec.field(name="cpu-load", default_factory=list)
    tasks: dict[str, float] = msgspec.field(name="process-and-context-switch", default_factory=dict)
    """Of ``-w``: proc and cswch, per second."""
    queue: dict[str, float] = msgspec.field(default_factory=dict)
    """Of ``-q``."""


class _HostPart(msgspec.Struct):
    statistics: list[_Statistics]
    nodename: str = ""
    release: str = ""
    cpus: int = msgspec.field(name="number-of-cpus", default=0)
    restarts: list[dict] = []


class _Sysstat(msgspec.Struct):
    hosts: list[_HostPart]


class _Document(msgspec.Struct):
    sysstat: _Sysstat


@dataclass(frozen=True, slots=True)
class CpuSample:
    """One CPU in one of sar's intervals."""

    cpu: int
    from_ns: int
    until_ns: int
    use: CpuColumns


def cpu_samples(sar_json: bytes) -> list[CpuSample]:
    """All samples of single CPUs, in time's order.

    Raises IronbenchError when the text is not what ``sadf -j FILE -- -u ALL -P ALL`` writes in UTC.
    """
    try:
        document = msgspec.json.decode(sar_json, type=_Document)
        return [
            CpuSample(cpu=int(cpu.cpu), from_ns=until - stamp.interval * SECOND_NS, until_ns=until, use=cpu)
            for part in document.sysstat.hosts
            for statistics in part.statistics
            for stamp in [statistics.timestamp]
            for until in [_stamp_ns(stamp)]
            for cpu in statistics.cpus
            if cpu.cpu != "all"
        ]
    except (msgspec.DecodeError, ValueError) as error:
        raise IronbenchError(f"this is not sadf's JSON of `-u ALL -P ALL`: {error}.") from error


def core_use(sar_json: bytes, first_ns: int, last_ns: int) -> list[CoreUse]:
    """Mean use of each CPU over the samples whose whole interval lies in the window.

    The window starts and ends within a second, so it is widened downwards to whole seconds at both
    ends: of a window from 10.05 s to 40.2 s that is 10 to 40. The article's reading,
    ``usr_whole_record``, is the mean of all samples. sar's ``Average:`` row weighs them by their ticks:
    57.55 where this mean is 57.71, in a record of 40 s at 83 % busy for 30 s.

    Raises IronbenchError when no sample lies in the window.
    """
    samples = cpu_samples(sar_json)
    first, last = first_ns // SECOND_NS * SECOND_NS, last_ns // SECOND_NS * SECOND_NS
    inside = [s for s in samples if first <= s.from_ns and s.until_ns <= last]
    if not inside:
        raise IronbenchError("sar left no whole sample of the window: sar died or the window is below 1 s.")
    return _uses(inside, {cpu: _mean(usr) for cpu, usr in _usr(samples).items()})


def system_use(sar_json: bytes, first_ns: int, last_ns: int) -> SystemUse | None:
    """Return the scheduler's figures in the same window; None where the record has none of them in it.

    Raises IronbenchError when the text is not sadf's of one host.
    """
    series = decode_file(sar_json).series
    first, last = first_ns // SECOND_NS * SECOND_NS, last_ns // SECOND_NS * SECOND_NS

    def column(name: str) -> tuple[SarColumn | None, int]:
        timed = series.get(name, [])
        inside = [one.value for one in timed if first <= one.from_ns and one.until_ns <= last]
        return (_column(inside, [one.value for one in timed]) if inside else None), len(inside)

    return _system({name: column(name) for name in _SYSTEM})


def system_of(reports: Sequence[SarReport]) -> SystemUse | None:
    """Return the scheduler's figures out of the reports of one run, over their windows; None where none has them.

    Raises IronbenchError when two of them have the same column.
    """
    found: dict[str, tuple[SarColumn | None, int]] = {}
    for one in (one for report in reports for one in report.series):
        if one.name in found:
            raise IronbenchError(f"two of the sar files have the column {one.name}; give one of them.")
        if one.name in _SYSTEM:
            column = SarColumn(
                mean=one.mean,
                max=one.max,
                mean_whole_record=_mean(one.values),
                max_whole_record=max(one.values),
            )
            found[one.name] = column, one.samples
    return _system(found)


def _column(inside: list[float], values: list[float]) -> SarColumn:
    return SarColumn(
        mean=_mean(inside), max=max(inside), mean_whole_record=_mean(values), max_whole_record=max(values)
    )


def _system(found: dict[str, tuple[SarColumn | None, int]]) -> SystemUse | None:
    samples = max((count for _, count in found.values()), default=0)
    if not samples:
        return None
    columns: dict[str, Any] = {field: found.get(name, (None, 0))[0] for name, field in _SYSTEM.items()}
    return SystemUse(samples=samples, **columns)


def _usr(samples: Sequence[CpuSample]) -> dict[int, list[float]]:
    by_cpu: dict[int, list[float]] = {}
    for sample in samples:
        by_cpu.setdefault(sample.cpu, []).append(sample.use.usr)
    return by_cpu


def _uses(inside: Sequence[CpuSample], usr_whole_record: dict[int, float]) -> list[CoreUse]:
    return [
        _use(cpu, [s.use for s in inside if s.cpu == cpu], usr_whole_record=usr_whole_record[cpu])
        for cpu in sorted({s.cpu for s in inside})
    ]


def _use(cpu: int, uses: list[CpuColumns], *, usr_whole_record: float) -> CoreUse:
    return CoreUse(
        cpu=cpu,
        usr=_mean([use.usr for use in uses]),
        sys=_mean([use.sys for use in uses]),
        iowait=_mean([use.iowait for use in uses]),
        irq=_mean([use.irq for use in uses]),
        soft=_mean([use.soft for use in uses]),
        steal=_mean([use.steal for use in uses]),
        idle=_mean([use.idle for use in uses]),
        busy=_mean([use.busy for use in uses]),
        usr_whole_record=usr_whole_record,
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _stamp_ns(stamp: _Stamp) -> int:
    if not (stamp.utc or stamp.tz == "UTC"):
        raise ValueError("the times are not in UTC")
    moment = datetime.strptime(f"{stamp.date} {stamp.time}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    if moment.year < EPOCH or not 0 <= stamp.interval <= DAY_S:
        raise ValueError(f"no sample of {stamp.interval} s ended on {stamp.date}")
    return int(moment.timestamp()) * SECOND_NS


# --- a whole record ----------------------------------------------------------------------------


class SarSeries(Record, frozen=True, kw_only=True):
    """One column of a record: run queue, switches and the like."""

    name: str
    """As sar calls it: "runq-sz", "cswch/s", "proc/s", ..."""
    mean: float
    """Over the samples in the window, as is ``max``."""
    max: float
    samples: int
    """In the window."""
    average: float | None
    """sar's own Average row, of all samples, rounded as sar does; None where there is none."""
    values: list[float]
    """Of all samples, in time's order."""


class SarReport(Record, frozen=True, kw_only=True):
    """What one sar file says. A window is counted in its samples, from 1."""

    host: str
    kernel: str
    cpus: int
    clock: Literal["local", "UTC"]
    start: str
    """Of the first interval, by that clock, as 2026-01-31T12:00:00; empty when there is none."""
    samples: int
    window: tuple[int, int] | None
    """First and last sample; all of them where no window was given, None where there is none."""
    cores: list[CoreUse]
    """``usr_whole_record`` is sar's own Average row where the file has one."""
    series: list[SarSeries]
    notes: list[str]
    """What the file holds and this record does not, and why."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One figure of one interval."""

    from_ns: int
    until_ns: int
    value: float


@dataclass(slots=True)
class SarFile:
    """The samples of one file."""

    host: str
    kernel: str
    cpus: int
    clock: Literal["local", "UTC"]
    cpu: list[CpuSample] = field(default_factory=list)
    average_usr: dict[int, list[float]] = field(default_factory=dict)
    """By CPU, %usr of each Average row."""
    series: dict[str, list[Timed]] = field(default_factory=dict)
    averages: dict[str, list[float]] = field(default_factory=dict)
    """By series, each Average row."""
    notes: list[str] = field(default_factory=list)


def decode_file(sar_json: bytes) -> SarFile:
    """Read the output of ``sadf -j FILE -- -u ALL -P ALL -w -q`` of one host.

    Raises IronbenchError when it is something else.
    """
    samples = cpu_samples(sar_json)
    hosts = msgspec.json.decode(sar_json, type=_Document).sysstat.hosts
    if len(hosts) != 1:
        raise IronbenchError(f"this record is of {len(hosts)} hosts; give that of one.")
    made = SarFile(
        host=hosts[0].nodename, kernel=hosts[0].release, cpus=hosts[0].cpus, clock="UTC", cpu=samples
    )
    for statistics in hosts[0].statistics:
        until = _stamp_ns(statistics.timestamp)
        start = until - statistics.timestamp.interval * SECOND_NS
        tasks = {f"{name}/s": value for name, value in statistics.tasks.items()}
        for name, value in (tasks | statistics.queue).items():
            made.series.setdefault(name, []).append(Timed(start, until, value))
    if hosts[0].restarts:
        made.notes.append(f"the machine restarted {len(hosts[0].restarts)} times within this record")
    return made


def make_report(file: SarFile, window: tuple[int, int] | None) -> SarReport:
    """Summarise a file over a window of its samples, all of them without one; it may have none.

    Raises IronbenchError when the file does not have these samples.
    """
    spans = sorted(
        {(s.from_ns, s.until_ns) for s in file.cpu}
        | {(s.from_ns, s.until_ns) for timed in file.series.values() for s in timed}
    )
    first, last = window or (1, len(spans))
    if spans and not 1 <= first <= last <= len(spans):
        raise IronbenchError(
            f"the window {first}-{last} is not in it; it has the samples 1 to {len(spans)}, first to last."
        )
    inside = set(spans[first - 1 : last])
    means = {cpu: _mean(usr) for cpu, usr in _usr(file.cpu).items()}
    averages = {cpu: usr[0] for cpu, usr in file.average_usr.items() if len(usr) == 1}
    return SarReport(
        host=file.host,
        kernel=file.kernel,
        cpus=file.cpus,
        clock=file.clock,
        start=f"{datetime.fromtimestamp(spans[0][0] // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}" if spans else "",
        samples=len(spans),
        window=(first, last) if spans else None,
        cores=_uses([s for s in file.cpu if (s.from_ns, s.until_ns) in inside], means | averages),
        series=[
            SarSeries(
                name=name,
                mean=_mean(within),
                max=max(within),
                samples=len(within),
                average=averaged[0] if len(averaged) == 1 else None,
                values=[one.value for one in timed],
            )
            for name, timed in file.series.items()
            for within in [[one.value for one in timed if (one.from_ns, one.until_ns) in inside]]
            for averaged in [file.averages.get(name, [])]
            if within
        ],
        notes=file.notes,
    )
