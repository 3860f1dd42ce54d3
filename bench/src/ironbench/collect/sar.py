"""sar.json (``sadf -j``): per-CPU use from sar's samples.

sar stamps a sample with the second at which it was taken; it covers the interval before that. The
observer takes its samples just after whole seconds of CLOCK_REALTIME, so the stamp is exact to
some 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from ironbench.errors import IronbenchError
from ironbench.records import CoreUse

SECOND_NS = 1_000_000_000


class _Stamp(msgspec.Struct):
    date: str
    time: str
    interval: int
    utc: int = 0
    """1 for UTC, until sysstat 12.6."""
    tz: str = ""
    """Since sysstat 12.7."""


class _Cpu(msgspec.Struct):
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
    cpus: list[_Cpu] = msgspec.field(name="cpu-load", default_factory=list)


class _HostPart(msgspec.Struct):
    statistics: list[_Statistics]


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
    use: _Cpu


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
    ``usr_whole_record``, is the mean of all samples, as in sar's ``Average:`` row.

    Raises IronbenchError when no sample lies in the window.
    """
    samples = cpu_samples(sar_json)
    first, last = first_ns // SECOND_NS * SECOND_NS, last_ns // SECOND_NS * SECOND_NS
    inside = [s for s in samples if first <= s.from_ns and s.until_ns <= last]
    if not inside:
        raise IronbenchError("sar left no whole sample of the window: sar died or the window is below 1 s.")
    return [
        _use(
            cpu,
            [s.use for s in inside if s.cpu == cpu],
            usr_whole_record=_mean([s.use.usr for s in samples if s.cpu == cpu]),
        )
        for cpu in sorted({s.cpu for s in inside})
    ]


def _use(cpu: int, uses: list[_Cpu], *, usr_whole_record: float) -> CoreUse:
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
    return int(moment.timestamp()) * SECOND_NS
