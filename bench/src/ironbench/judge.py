"""The two ledgers of a run: instrument faults, which invalidate it, and outcomes, which are results.

A pure function of what the hosts left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.cpus import bench_cpus, parse_cpu_list
from ironbench.records import (
    Clocks,
    CoreLayout,
    CoreUse,
    CpuCheck,
    Finding,
    Host,
    Load,
    LoadResult,
    LoopBlocks,
    Measured,
    Record,
    RequestTemplate,
    SearchResult,
    ServiceCpu,
    Session,
    Snapshot,
    SystemUse,
    UnitState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class HostEvidence(Record, frozen=True, kw_only=True):
    """What one host left behind of one run."""

    host: Host
    before: Snapshot
    after: Snapshot
    cpu: list[ServiceCpu]
    cores: list[CoreUse]
    system: SystemUse | None = None
    cpu_check: list[CpuCheck]
    mhz: float | None
    unusable: list[str]
    """Raw outputs of this host's observers that are missing or do not cover the window, and why."""
    measured: Measured | None = None
    """None: the host does not tell."""


class Generator(Record, frozen=True, kw_only=True):
    """What one host saw of its share of the load; a generator that is alone has all of it."""

    host: str
    load: LoadResult
    background: LoadResult | None = None


class Evidence(Record, frozen=True, kw_only=True):
    """What all hosts left behind of one run."""

    session: Session
    generators: list[Generator]
    load: LoadResult
    """Of all generators together, as ``background`` is."""
    background: LoadResult | None = None
    """Of the experiment's background, if it has one."""
    clocks: dict[str, Clocks]
    """The other hosts' clocks as each generator's host read them; empty with one machine."""
    search: SearchResult | None = None
    loop_blocks: LoopBlocks | None = None
    hosts: list[HostEvidence]
    third_means_ms: tuple[float, float, float] | None
    """Mean latency of the requests due in each third of the window, answered or given up; None where one has none."""
    background_third_means_ms: tuple[float, float, float] | None = None


class OneLoad(Record, frozen=True, kw_only=True):
    """One of the loads of a run, its own or the background; the same rules hold for both."""

    where: str
    """Start of a sentence about it; empty for the run's own."""
    request: RequestTemplate
    load: Load
    result: LoadResult
    third_means_ms: tuple[float, float, float] | None


class Threshold(Record, frozen=True, kw_only=True):
    """A limit, the looser one of packed layouts, and the reason for both."""

    limit: float
    packed: float
    reason: str


SEND_LAG_FLOOR_MS = Threshold(
    limit=1.0,
    packed=50.0,
    reason="ms; a quarter of the fastest published mean is the most that may hide in a latency; where "
    "services share CPUs with the generator it waits for its turn, and nobody reads latency there",
)
SEND_LAG_SHARE = Threshold(
    limit=0.10,
    packed=0.50,
    reason="of the mean distance between requests, which is the same for all variants: a limit drawn "
    "from the measured latency would throw out fast variants more often than slow ones",
)
GENERATOR_CPU = Threshold(
    limit=0.7,
    packed=0.7,
    reason="of one CPU; one process cannot use more than 1.0, and queues grow well before that",
)
STEAL = Threshold(
    limit=2.0,
    packed=2.0,
    reason="per cent of a bench CPU; the margin of verdicts is 2 %, and stolen time is larger than that",
)
CLOCK_STEP_MS = Threshold(
    limit=10.0,
    packed=10.0,
    reason="ms; reading the two clocks one after the other differs by less than 1 ms, slewing moves both",
)
CLOCK_OFFSET = Threshold(
    limit=0.002,
    packed=0.002,
    reason="of the window; a host whose clock differs by this from the generator's has its counters cut that much too "
    "early or too late, and misses that much of the window's work at most: a tenth of the margin of verdicts",
)
CLOCK_OFFSET_FLOOR_MS = Threshold(
    limit=10.0,
    packed=10.0,
    reason="ms; a tenth of the sampler's interval, and what a quiet network can tell",
)
FOREIGN_CPU = Threshold(
    limit=0.05,
    packed=0.25,
    reason="of the CPUs' time in the window; kernel work outside of any service stays below on CPUs of "
    "their own; CPUs shared with housekeeping also carry that, legitimately",
)
DISAGREEMENT = Threshold(
    limit=0.10,
    packed=0.10,
    reason="of what /proc/stat saw the CPUs do, net of the quiet time; beyond that one of the two is wrong, "
    "or the quiet time was not quiet, and then neither is a service's idle rate right",
)
DISAGREEMENT_FLOOR = Threshold(
    limit=0.02,
    packed=0.02,
    reason="of the CPUs' time; below, a timer or a kernel thread is enough",
)
IDLE_WORK = Threshold(
    limit=0.02,
    packed=0.02,
    reason="of what all services did in the window; so much is taken off as idle work only where it is that, and a "
    "service that does more per second in the quiet time than under load does something of its own then, as "
    "PostgreSQL's autovacuum and checkpoints are. Not the app: what it moves into the quiet time is its own doing, and "
    "the gross figure tells",
)
SATURATION = Threshold(
    limit=0.99,
    packed=0.99,
    reason="of the offered rate; with nothing left unsent the two are equal exactly",
)
DRIFT = Threshold(
    limit=2.0,
    packed=2.0,
    reason="mean latency of the last third of the window over the first; a queue that grows, not noise",
)

OTHER = "other"
"""The collector's name for all cgroups that are neither a service nor the load generator."""

WRK2 = "wrk2"
"""``LoadResult.backend`` of wrk2's runs."""

_DIED = {"exit-code", "signal", "core-dump", "oom-kill", "watchdog", "timeout", "start-limit-hit"}
"""systemd's Result values of a service that ended by itself; stopped from outside leaves success."""


def judge(evidence: Evidence) -> tuple[list[Finding], list[Finding]]:
    """Return (instrument faults, outcomes)."""
    return list(_instrument_faults(evidence)), list(_outcomes(evidence))


def loads(evidence: Evidence, generator: Generator | None = None) -> list[OneLoad]:
    """Return the loads of a run, its own first: of one generator, or of all together."""
    experiment = evidence.session.experiment
    seen = generator or evidence
    found = [
        OneLoad(
            where="",
            request=experiment.request,
            load=experiment.load,
            result=seen.load,
            third_means_ms=evidence.third_means_ms,
        )
    ]
    if experiment.background is not None and seen.background is not None:
        found.append(
            OneLoad(
                where="in the background, ",
                request=experiment.background.request,
                load=experiment.background.load,
                result=seen.background,
                third_means_ms=evidence.background_third_means_ms,
            )
        )
    return found


# --- instrument faults -------------------------------------------------------------------------


def _instrument_faults(evidence: Evidence) -> Iterator[Finding]:
    for generator in evidence.generators:
        for one in loads(evidence, generator):
            yield from _generator_faults(evidence, generator.host, one)
    yield from _generators_apart(evidence)
    yield from _clock_offsets(evidence)
    yield from _idle_work(evidence)
    for host in evidence.hosts:
        yield from _named(host, _steal(host))
        yield from _named(host, _throttling(host))
        yield from _named(host, _clock_step(host))
        yield from _named(host, _foreign_cpu(host, evidence.load))
        yield from _named(host, _disagreement(host, evidence.load))
        yield from _named(host, _affinity(host))
        yield from _named(host, _observers(host))
        yield from _named(host, _quiet(host))
        yield from _named(host, _interrupted(host))


def _generator_faults(evidence: Evidence, generator: str, one: OneLoad) -> Iterator[Finding]:
    load = one.result
    packed = any(h.host.layout.packed for h in evidence.hosts if h.host.name == generator)
    floor = _limit(SEND_LAG_FLOOR_MS, packed=packed)
    gap_ms = 1000 / one.load.rate
    limit = max(floor, _limit(SEND_LAG_SHARE, packed=packed) * gap_ms)
    lags = (
        (
            "generator-late",
            load.own_send_lag,
            "1 % of the sends left {} ms late or more although a connection was free",
        ),
        # Between due times no send can be late, but answers are read late: latency that is the generator's.
        (
            "generator-stalled",
            load.timer_lag,
            "at 1 % of its ticks the generator ran {} ms late or more, so it read answers late",
        ),
    )
    for kind, lag, sentence in lags:
        if lag is not None and lag.p99 > limit:
            yield Finding(
                kind=kind,
                detail=f"{one.where}{sentence.format(f'{lag.p99:.1f}')} (limit {limit:.1f} ms)",
                host=generator,
                value=lag.p99,
                threshold=limit,
            )
    limit = _limit(GENERATOR_CPU, packed=packed)
    if load.cpu_share > limit:
        yield Finding(
            kind="generator-saturated",
            detail=f"{one.where}the generator used {load.cpu_share:.2f} of one CPU (limit {limit:.2f})",
            host=generator,
            value=load.cpu_share,
            threshold=limit,
        )


def _tolerable_ms(evidence: Evidence) -> float:
    """How far apart two hosts' clocks, or two generators' windows, may be."""
    return max(CLOCK_OFFSET_FLOOR_MS.limit, CLOCK_OFFSET.limit * evidence.load.window_s * 1000)


def _generators_apart(evidence: Evidence) -> Iterator[Finding]:
    starts = {one.host: one.load.idle_until_ns for one in evidence.generators if one.load.gate.ok}
    limit = _tolerable_ms(evidence)
    apart_ms = (max(starts.values(), default=0) - min(starts.values(), default=0)) / 1e6
    if apart_ms > limit:
        yield Finding(
            kind="generators-apart",
            detail=f"the generators' windows began {apart_ms:.0f} ms apart, the last on "
            f"{max(starts, key=starts.__getitem__)} (limit {limit:.0f} ms)",
            value=apart_ms,
            threshold=limit,
        )


def _clock_offsets(evidence: Evidence) -> Iterator[Finding]:
    limit = _tolerable_ms(evidence)
    for generator, clocks in evidence.clocks.items():
        if not clocks.after:
            yield Finding(
                kind="clock-unknown",
                detail="it did not read the other hosts' clocks after the load",
                host=generator,
            )
        told = set()
        for when, readings in (("before", clocks.before), ("after", clocks.after)):
            for reading in readings:
                if reading.peer in told:
                    continue
                kind, detail, value = "", "", None
                if reading.unknown:
                    kind, detail = (
                        "clock-unknown",
                        f"its clock could not be read {when} the load: {reading.unknown}",
                    )
                elif abs(reading.offset_ms) - reading.bound_ms > limit:
                    kind, value = "clock-offset", reading.offset_ms
                    detail = (
                        f"{when} the load its clock was {reading.offset_ms:+.1f} ms from that of {generator} "
                        f"(within {reading.bound_ms:.1f} ms, limit {limit:.0f} ms)"
                    )
                elif reading.bound_ms > limit:
                    kind, value = "clock-unknown", reading.bound_ms
                    detail = (
                        f"{when} the load its clock could be read from {generator} within {reading.bound_ms:.1f} ms "
                        f"only (limit {limit:.0f} ms)"
                    )
                if kind:
                    told.add(reading.peer)
                    yield Finding(kind=kind, detail=detail, host=reading.peer, value=value, threshold=limit)


def _steal(host: HostEvidence) -> Iterator[Finding]:
    limit = _limit(STEAL, packed=host.host.layout.packed)
    bench = bench_cpus(host.host)
    stolen = {core.cpu: core.steal for core in host.cores if core.cpu in bench}
    if stolen and max(stolen.values()) > limit:
        cpu = max(stolen, key=stolen.__getitem__)
        yield Finding(
            kind="steal",
            detail=f"the hypervisor took {stolen[cpu]:.1f} % of CPU {cpu} (limit {limit:.1f} %)",
            value=stolen[cpu],
            threshold=limit,
        )


def _throttling(host: HostEvidence) -> Iterator[Finding]:
    grown = {
        cpu: count - host.before.throttled.get(cpu, count)
        for cpu, count in host.after.throttled.items()
        if count > host.before.throttled.get(cpu, count)
    }
    if grown:
        yield Finding(
            kind="throttling",
            detail=f"the CPU was throttled for heat {sum(grown.values())} times (CPU {', '.join(grown)})",
            value=sum(grown.values()),
            threshold=0,
        )


def _clock_step(host: HostEvidence) -> Iterator[Finding]:
    before = host.before.ns - host.before.monotonic_ns
    step = (host.after.ns - host.after.monotonic_ns - before) / 1e6
    limit = _limit(CLOCK_STEP_MS, packed=host.host.layout.packed)
    if abs(step) > limit:
        yield Finding(
            kind="clock-step",
            detail=f"the clock was stepped by {step:+.0f} ms (limit {limit:.0f} ms)",
            value=step,
            threshold=limit,
        )


def _foreign_cpu(host: HostEvidence, load: LoadResult) -> Iterator[Finding]:
    """Work outside of every cgroup (/proc/stat against cgroups), and of other cgroups where they may live.

    The second only where housekeeping shares CPUs with the bench: elsewhere the first sees it.
    """
    layout = host.host.layout
    limit = _limit(FOREIGN_CPU, packed=layout.packed)
    span_ms = (load.drained_ns - load.first_send_ns) / 1e6
    work = [(check.cpus, check.foreign_ms) for check in host.cpu_check]
    if not bench_cpus(host.host).isdisjoint(parse_cpu_list(layout.housekeeping)):
        work += [(cpu.cpus, cpu.total_ms) for cpu in host.cpu if cpu.service == OTHER]
    for cpus, foreign_ms in work:
        share = foreign_ms / (span_ms * len(parse_cpu_list(cpus)))
        if share > limit:
            yield Finding(
                kind="foreign-cpu",
                detail=f"{100 * share:.1f} % of CPUs {cpus} went to work that belongs to no service of the "
                f"bench (limit {100 * limit:.0f} %)",
                value=share,
                threshold=limit,
            )


def _disagreement(host: HostEvidence, load: LoadResult) -> Iterator[Finding]:
    """Two exact instruments that differ: cgroup counters and elapsed less idle time, both net."""
    limit = _limit(DISAGREEMENT, packed=host.host.layout.packed)
    floor = _limit(DISAGREEMENT_FLOOR, packed=host.host.layout.packed)
    span_ms = (load.drained_ns - load.first_send_ns) / 1e6
    for check in host.cpu_check:
        apart_ms = abs(check.cgroup_ms - check.nonidle_ms)
        at_least = max(limit * check.nonidle_ms, floor * span_ms * len(parse_cpu_list(check.cpus)))
        if apart_ms > at_least:
            yield Finding(
                kind="instruments-disagree",
                detail=f"cgroups on CPUs {check.cpus} were charged {check.cgroup_ms:.0f} ms, and the CPUs worked "
                f"{check.nonidle_ms:.0f} ms beyond their quiet rate (at most {at_least:.0f} ms apart)",
                value=apart_ms,
                threshold=at_least,
            )


def _idle_work(evidence: Evidence) -> Iterator[Finding]:
    """Give the services that had a job of their own to do in the quiet time, whose rate is then no idle rate."""
    span_s = (evidence.load.drained_ns - evidence.load.first_send_ns) / 1e9
    services = [
        (host.host.name, cpu)
        for host in evidence.hosts
        for cpu in host.cpu
        if cpu.service in {service.name for service in host.host.services}
    ]
    limit_ms = IDLE_WORK.limit * sum(cpu.total_ms for _, cpu in services)
    for host, cpu in services:
        idle_ms = cpu.idle_ms_per_s * span_s
        if cpu.service != "app" and idle_ms > limit_ms and idle_ms > cpu.total_ms:
            yield Finding(
                kind="idle-work",
                detail=f"{cpu.service} worked {cpu.idle_ms_per_s:.1f} ms per second in the quiet time and "
                f"{cpu.total_ms / span_s:.1f} under load, so it had a job of its own to do then (limit "
                f"{limit_ms / span_s:.1f} ms per second)",
                host=host,
                value=idle_ms,
                threshold=limit_ms,
            )


def _affinity(host: HostEvidence) -> Iterator[Finding]:
    wrong = {
        (a.service, a.pid): a
        for snapshot in (host.before, host.after)
        for unit in snapshot.units
        for a in unit.affinity
        if not a.ok
    }
    for affinity in wrong.values():
        yield Finding(
            kind="affinity",
            detail=f"{affinity.service} (PID {affinity.pid}) may run on CPUs {affinity.effective} and its "
            f"layout says {affinity.wanted}",
        )


def _observers(host: HostEvidence) -> Iterator[Finding]:
    for unit in sorted(host.before.observers | host.after.observers):
        for when, snapshot in (("before", host.before), ("after", host.after)):
            state = snapshot.observers.get(unit, "gone")
            if state != "active":
                yield Finding(kind="observer-died", detail=f"{unit} was {state} {when} the window")
                break
    for what in host.unusable:
        yield Finding(kind="observer-died", detail=what)


def _quiet(host: HostEvidence) -> Iterator[Finding]:
    """What was to be kept off the bench's CPUs, and was not for all of the session."""
    before, after = host.before.quiet, host.after.quiet
    if before is None or not before.wanted:
        return
    for when, now in (("before", before), ("after", after)):
        if now is None or not now.invocation:
            yield Finding(
                kind="quiet-ended",
                detail=f"nothing kept the rest of the host off the bench's CPUs {when} the window any more",
            )
            return
        if now.undone:
            yield Finding(
                kind="quiet-ended",
                detail=f"what had been kept off the bench's CPUs was back {when} the window: {', '.join(now.undone)}",
            )
            return
    if after is not None and after.invocation != before.invocation:
        yield Finding(
            kind="quiet-ended",
            detail="the rest of the host was let back to the bench's CPUs in between, and kept off them again",
        )


def _interrupted(host: HostEvidence) -> Iterator[Finding]:
    for before, after in _units(host):
        if crash(before, after):
            continue
        if after is not None and after.killed:
            yield Finding(
                kind="service-killed",
                detail=f"{before.service} was ended by SIGKILL, which no service does to itself",
            )
        elif before.active != "active":
            yield Finding(
                kind="service-interrupted", detail=f"{before.service} was {before.active} before the window"
            )
        elif after is None or after.active != "active":
            state = "gone" if after is None else after.active
            yield Finding(
                kind="service-interrupted",
                detail=f"{before.service} was {state} after the window: something else stopped it",
            )
        elif after.invocation != before.invocation:
            yield Finding(
                kind="service-interrupted", detail=f"something else restarted {before.service} in the window"
            )


# --- outcomes ----------------------------------------------------------------------------------


def _outcomes(evidence: Evidence) -> Iterator[Finding]:
    every = loads(evidence)
    for one in every:
        yield from _load_outcomes(evidence, one, loaded=all(other.result.gate.ok for other in every))
    for host in evidence.hosts:
        yield from _named(host, _crashes(host))
    for one in every:
        yield from _drift(one)


def _load_outcomes(evidence: Evidence, one: OneLoad, *, loaded: bool) -> Iterator[Finding]:
    """Give the outcomes of one load; without a passed gate of each there was none (``loaded``)."""
    load = one.result
    if not load.gate.ok:
        yield Finding(kind="gate", detail=f"{one.where}{load.gate.detail}")
    if load.gate_after is not None and not load.gate_after.ok:
        yield Finding(
            kind="gate-after",
            detail=f"{one.where}after the window the same request was not answered as before it: "
            f"{load.gate_after.detail}",
        )
    share = _answered(one) if loaded else 1.0
    if share < SATURATION.limit:
        expected = ", as this experiment expects" if evidence.session.experiment.expect_saturation else ""
        yield Finding(
            kind="saturation",
            detail=f"{one.where}{load.achieved_rps:.1f} of {load.offered_rps:g} requests per second were "
            f"answered, {load.unsent} were still unsent at the window's end{expected}",
            value=share,
            threshold=SATURATION.limit,
        )
    for kind, count in sorted(load.errors.items()):
        if count and kind == "timeout":
            yield Finding(
                kind="timeouts",
                detail=f"{one.where}{count} requests had no answer after {evidence.session.timeout_s:g} s",
                value=count,
                threshold=0,
            )
        elif count:
            yield Finding(
                kind="errors", detail=f"{one.where}{count} errors of kind {kind}", value=count, threshold=0
            )
    if load.unexpected_status:
        wanted = str(one.request.expect.status)
        others = ", ".join(f"{n} x {code}" for code, n in sorted(load.statuses.items()) if code != wanted)
        yield Finding(
            kind="unexpected-status",
            detail=f"{one.where}{load.unexpected_status} answers were not {wanted}"
            + (f" ({others})" if others else ""),
            value=load.unexpected_status,
            threshold=0,
        )
    if load.bodies_wrong:
        yield Finding(
            kind="wrong-body",
            detail=f"{one.where}{load.bodies_wrong} of {load.bodies_sampled} answers of the window that were looked at "
            f"had the expected status and the wrong content; the first: {load.body_detail}",
            value=load.bodies_wrong / load.bodies_sampled,
            threshold=0,
        )


def _drift(one: OneLoad) -> Iterator[Finding]:
    if not one.third_means_ms:
        return
    first, _, last = one.third_means_ms
    if first > 0 and last / first > DRIFT.limit:
        yield Finding(
            kind="drift",
            detail=f"{one.where}the mean latency was {first:.1f} ms in the window's first third and "
            f"{last:.1f} ms in its last",
            value=last / first,
            threshold=DRIFT.limit,
        )


def _answered(one: OneLoad) -> float:
    """Share of the offered requests that were answered, or may have been under way at the end.

    wrk2 does not wait for the answers under way when its time is up: at most one a connection.
    """
    load = one.result
    if load.backend != WRK2:
        return load.achieved_rps / load.offered_rps
    under_way = one.load.connections / load.window_s
    return min(1.0, (load.achieved_rps + under_way) / load.offered_rps)


def _crashes(host: HostEvidence) -> Iterator[Finding]:
    for before, after in _units(host):
        how = crash(before, after)
        if how:
            yield Finding(kind="crash", detail=how)


def crash(before: UnitState, after: UnitState | None) -> str:
    """Say how a service ended by itself between two states, or nothing if it did not.

    A worker of the app that dies is replaced by its parent under the same unit, so only its PID tells.
    """
    if after is None or after.killed:
        return ""
    if after.active == "failed" or (after.result in _DIED and after.result != before.result):
        return f"{after.service} ended with {after.result}"
    if after.restarts > before.restarts:
        return f"{after.service} ended and systemd restarted it {after.restarts - before.restarts} times"
    if (
        after.service == "app"
        and after.invocation == before.invocation
        and after.active == "active"
        and set(after.pids) != set(before.pids)
    ):
        gone, new = (
            sorted(set(before.pids) - set(after.pids)),
            sorted(set(after.pids) - set(before.pids)),
        )
        return f"a worker of the app died or was replaced (PIDs gone: {gone}, new: {new})"
    return ""


# --- helpers -----------------------------------------------------------------------------------


def packed_hosts(layouts: dict[str, CoreLayout]) -> list[str]:
    """Names of the hosts whose services share CPUs."""
    return sorted(name for name, layout in layouts.items() if layout.packed)


def _limit(threshold: Threshold, *, packed: bool) -> float:
    return threshold.packed if packed else threshold.limit


def _units(host: HostEvidence) -> Iterator[tuple[UnitState, UnitState | None]]:
    after = {unit.service: unit for unit in host.after.units}
    for unit in host.before.units:
        yield unit, after.get(unit.service)


def _named(host: HostEvidence, findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield Finding(
            kind=finding.kind,
            detail=finding.detail,
            host=host.host.name,
            value=finding.value,
            threshold=finding.threshold,
        )
