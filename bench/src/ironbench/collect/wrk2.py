"""What wrk2 prints, as a typed record. Its source: github.com/giltene/wrk2, commit 44a94c1.

The figures in the record are those of the log, in milliseconds. wrk2 prints most of them twice: in
"Thread Stats" and in the list of percentiles with two decimals of a unit that depends on the value
(us below 850 us, ms below 1 s, s below 51 s, then m), and in the detailed spectrum and its footer in
milliseconds with three decimals. The second are taken wherever the log has them, and have to agree
with the first.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from ironbench.collect.lines import fault, quoted, read_lines
from ironbench.errors import IronbenchError
from ironbench.judge import WRK2
from ironbench.records import SCHEMA, Experiment, Gate, Latency, LoadResult, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_SAMPLES = Latency(count=0, mean=0, stdev=0, p50=0, p75=0, p90=0, p99=0, p999=0, max=0)

LISTED = ("50.000", "75.000", "90.000", "99.000", "99.900", "99.990", "99.999", "100.000")
"""The percentiles that wrk2 lists, in its order."""
KEPT = {"p50": "50.000", "p75": "75.000", "p90": "90.000", "p99": "99.000", "p999": "99.900"}

_MS = {"us": Decimal("0.001"), "ms": Decimal(1), "s": Decimal(1000), "m": Decimal(60_000)}
"""Milliseconds of wrk2's units of time."""
_CLOCK_TOLERANCE = Decimal("0.02")
"""Relative difference that is no error: wrk2 rounds a duration in minutes to 0.6 s, 1.2 % of 51 s."""

_N = r"([0-9]{1,15})"
_F = r"([0-9]{1,15}\.[0-9]{1,6})"
_NAN = r"(-?nan|[0-9]{1,15}\.[0-9]{1,6})"
_TIME = r"([0-9]{1,15}\.[0-9]{2})(us|ms|s|m)"
_TIME_NAN = r"(-?nan|[0-9]{1,15}\.[0-9]{2})(us|ms|s|m)?"

_RUNNING = re.compile(r"Running [0-9]{1,9}[smh] test @ (\S+)")
_SETUP = re.compile(rf"{_N} threads and {_N} connections")
_CALIBRATION = re.compile(rf"Thread calibration: mean lat\.: {_NAN}ms, rate sampling interval: {_N}ms")
_STATS = re.compile(r"Thread Stats +Avg +Stdev +Max +\+/- Stdev")
_LATENCY = re.compile(rf"Latency +{_TIME_NAN} +{_TIME_NAN} +{_TIME_NAN} +{_NAN}%")
_REQ_SEC = re.compile(r"Req/Sec +[-0-9.a-zA-Z]+ +[-0-9.a-zA-Z]+ +[-0-9.a-zA-Z]+ +[-0-9.a-zA-Z]+%")
_BLOCK = re.compile(r"Latency Distribution(?: \(HdrHistogram - (Recorded|Uncorrected) Latency.*\))?")
_LISTED = re.compile(rf"([0-9]{{1,3}}\.[0-9]{{3}})% +{_TIME}")
_SPECTRUM = re.compile(r"Detailed Percentile spectrum:")
_COLUMNS = re.compile(r"Value +Percentile +TotalCount +1/\(1-Percentile\)")
_STEP = re.compile(rf"{_F} +([01]\.[0-9]{{6}}) +{_N} +(?:{_F}|inf)")
_MEAN = re.compile(rf"#\[Mean += +{_NAN}, StdDeviation += +{_NAN}\]")
_MAX = re.compile(rf"#\[Max += +{_F}, Total count += +{_N}\]")
_BUCKETS = re.compile(rf"#\[Buckets += +{_N}, SubBuckets += +{_N}\]")
_RULE = re.compile(r"-{20,}")
_REQUESTS = re.compile(rf"{_N} requests in {_TIME}, [0-9.]+[KMG]?B read")
_ERRORS = re.compile(rf"Socket errors: connect {_N}, read {_N}, write {_N}, timeout {_N}")
_STATUSES = re.compile(rf"Non-2xx or 3xx responses: {_N}")
_RATE = re.compile(rf"Requests/sec: +{_F}")
_TRANSFER = re.compile(r"Transfer/sec: +[0-9.]+[KMG]?B")


class LatencyMs(Record, frozen=True, kw_only=True):
    """Milliseconds. None: the log does not have it (no sample, or wrk2 ran without ``--latency``)."""

    mean: float | None
    stdev: float | None
    max: float | None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p99: float | None = None
    p999: float | None = None


class Step(Record, frozen=True, kw_only=True):
    """A line of the detailed spectrum: ``count`` samples are not above ``value_ms``."""

    value_ms: float
    percentile: float
    """0 to 1, where wrk2 made the step; the samples there may be more."""
    count: int


class Distribution(Record, frozen=True, kw_only=True):
    """One block "Latency Distribution". A percentile may exceed ``max`` by the edge of a bucket."""

    latency_ms: LatencyMs
    recorded: int | None
    """Samples; less than the requests, since wrk2 forgets those of its calibration (about the first
    10 s). None: wrk2 ran without ``--latency``."""
    spectrum: list[Step]


class SocketErrors(Record, frozen=True, kw_only=True):
    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0


class Calibration(Record, frozen=True, kw_only=True):
    """What a thread found in its first 10 s or so."""

    mean_ms: float | None
    interval_ms: int


class Wrk2Log(Record, frozen=True, kw_only=True):
    """One run of wrk2."""

    url: str
    threads: int
    connections: int
    """As ordered with ``-c``."""
    calibration: list[Calibration]
    """One a thread; empty when the run was too short for it (``-d`` up to 10 s)."""
    corrected: Distribution
    """From the intended send time."""
    uncorrected: Distribution | None
    """From the actual send time; only with ``-U``."""
    requests: int
    """Answers of the whole run, calibration included, those with an error status too."""
    duration_s: float
    errors: SocketErrors
    non_2xx: int
    """Answers that were neither 2xx nor 3xx."""
    requests_per_s: float

    @property
    def censored(self) -> int:
        """The most requests with a latency that may have been given up.

        wrk2 looks every two seconds whether a connection has waited for its answer longer than the timeout, counts
        it each time, waits on, and records the latency when the answer comes; which ones they are it does not tell.
        """
        return min(self.errors.timeout, self.corrected.recorded or 0)

    @property
    def driven(self) -> int:
        """Connections that wrk2 really drives: the same number on each thread."""
        return self.connections // self.threads * self.threads


class Told(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A log as ``ironbench import wrk2 --json`` prints it."""

    file: str
    latency_ms: LatencyMs
    recorded: int | None
    requests: int
    duration_s: float
    errors: SocketErrors
    non_2xx: int
    spectrum: list[Step]
    uncorrected: Distribution | None = None


# --- reading -----------------------------------------------------------------------------------


def parse(raw: bytes, name: str) -> Wrk2Log:
    """Read the output of one run.

    What a Lua script printed before the results and after them is passed over. Raises IronbenchError
    that names the file and the line when the text is not the whole output of one run, or when its
    figures contradict each other.
    """
    return _Reader(read_lines(raw, name), name).log()


class _Reader:
    """A position in the lines; each method reads one part of the output."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines = lines
        self.name = name
        self.at = 0

    def log(self) -> Wrk2Log:
        url = self._find(_RUNNING, "the line `Running ... test @ URL`")[1]
        setup = self._find(_SETUP, "the line `N threads and N connections`")
        threads, connections = int(setup[1]), int(setup[2])
        if not 1 <= threads <= connections:
            raise self._fault(f"{threads} threads cannot share {connections} connections")
        calibration = self._calibration()
        stats = self._stats()
        corrected = uncorrected = None
        if self._peek(_BLOCK):
            corrected = self._block("Recorded", stats)
            if self._peek(_BLOCK):
                uncorrected = self._block("Uncorrected", None)
        answers = self._expect(_REQUESTS, "the line `N requests in TIME, SIZE read`")
        requests, duration_ms = int(answers[1]), _ms(answers[2], answers[3])
        if corrected and corrected.recorded is not None and corrected.recorded > requests:
            raise self._fault(f"{corrected.recorded} samples cannot come from {requests} requests")
        errors = self._optional(_ERRORS)
        statuses = self._optional(_STATUSES)
        rate = Decimal(self._expect(_RATE, "the line `Requests/sec:`")[1])
        self._check_rate(rate, requests, duration_ms)
        self._expect(_TRANSFER, "the line `Transfer/sec:`")
        self._must_be_alone()
        return Wrk2Log(
            url=url,
            threads=threads,
            connections=connections,
            calibration=calibration,
            corrected=corrected or Distribution(latency_ms=_latency_of(stats), recorded=None, spectrum=[]),
            uncorrected=uncorrected,
            requests=requests,
            duration_s=float(duration_ms / 1000),
            errors=SocketErrors(
                **dict(zip(SocketErrors.__struct_fields__, map(int, errors.groups()), strict=True))
            )
            if errors
            else SocketErrors(),
            non_2xx=int(statuses[1]) if statuses else 0,
            requests_per_s=float(rate),
        )

    def _calibration(self) -> list[Calibration]:
        found = []
        while not self._peek(_STATS):
            text = self._next("the line `Thread Stats`")
            match = _CALIBRATION.fullmatch(text)
            if match:
                mean = None if "nan" in match[1] else float(match[1])
                found.append(Calibration(mean_ms=mean, interval_ms=int(match[2])))
            elif text.startswith("Thread calibration"):
                raise self._fault(f"{quoted(text)} is not a line of wrk2's calibration")
        self._expect(_STATS, "the line `Thread Stats`")
        return found

    def _stats(self) -> dict[str, _Printed | None]:
        """Read mean, stdev and max of Thread Stats."""
        match = self._expect(_LATENCY, "the line `Latency` of Thread Stats")
        groups = match.groups()
        printed: dict[str, _Printed | None] = {}
        for index, figure in enumerate(("mean", "stdev", "max")):
            number, unit = groups[2 * index], groups[2 * index + 1]
            if "nan" in number:
                printed[figure] = None
            elif unit is None:
                raise self._fault(f"{number} has no unit of time")
            else:
                printed[figure] = _Printed(number, unit)
        self._expect(_REQ_SEC, "the line `Req/Sec` of Thread Stats")
        return printed

    def _block(self, kind: str, stats: dict[str, _Printed | None] | None) -> Distribution:
        """Read a latency distribution: the list, the spectrum, the footer, the rule below."""
        match = self._expect(_BLOCK, "the line `Latency Distribution`")
        if match[1] is None:
            raise self._fault(
                "this is a log of wrk, whose latency leaves out the time before sending; only wrk2's are read"
            )
        if match[1] != kind:
            raise self._fault(f"the block of the {kind.lower()} latency comes here")
        listed: dict[str, tuple[int, _Printed]] = {}
        for percentile in LISTED:
            match = self._expect(_LISTED, f"the percentile {percentile}%")
            if match[1] != percentile:
                raise self._fault(f"the percentile {percentile}% comes here, not {match[1]}%")
            listed[percentile] = self.at, _Printed(match[2], match[3])
        self._expect(_SPECTRUM, "the line `Detailed Percentile spectrum:`")
        self._expect(_COLUMNS, "the columns of the spectrum")
        steps = self._steps()
        match = self._expect(_MEAN, "a line of the spectrum or its footer `#[Mean`")
        footer: dict[str, Decimal | None] = {
            key: None if "nan" in text else Decimal(text)
            for key, text in zip(("mean", "stdev"), match.groups(), strict=True)
        }
        match = self._expect(_MAX, "the footer `#[Max`")
        recorded = int(match[2])
        footer["max"] = Decimal(match[1])
        if (steps[-1].count if steps else 0) != recorded:
            raise self._fault(f"the spectrum ends below or above its Total count of {recorded}")
        if recorded and None in footer.values():
            raise self._fault(f"{recorded} samples have a mean")
        if not recorded:
            footer = dict.fromkeys(footer)
        self._expect(_BUCKETS, "the footer `#[Buckets`")
        self._expect(_RULE, "the rule below the spectrum")
        if stats is not None and recorded:
            self._check_stats(stats, footer)
        exact = {
            key: self._percentile(*listed[percentile], percentile, steps, recorded) if recorded else None
            for key, percentile in KEPT.items()
        }
        figures = {key: None if value is None else float(value) for key, value in footer.items()}
        return Distribution(
            latency_ms=LatencyMs(mean=figures["mean"], stdev=figures["stdev"], max=figures["max"], **exact),
            recorded=recorded,
            spectrum=steps,
        )

    def _steps(self) -> list[Step]:
        steps = []
        while match := self._optional(_STEP):
            step = Step(value_ms=float(match[1]), percentile=float(match[2]), count=int(match[3]))
            last = steps[-1] if steps else Step(value_ms=0, percentile=0, count=0)
            if (
                step.value_ms < last.value_ms
                or not last.percentile <= step.percentile <= 1
                or step.count < last.count
            ):
                raise self._fault("the spectrum goes back here; its columns only ever rise")
            steps.append(step)
        if not steps:
            raise self._fault_next("a line of the spectrum")
        if steps[-1].percentile != 1:
            raise self._fault("the spectrum stops before its last line, that of percentile 1.000000")
        return steps

    def _percentile(
        self, line: int, printed: _Printed, percentile: str, steps: list[Step], recorded: int
    ) -> float:
        """Return the spectrum's figure where it prints as the listed one, else the listed one.

        HdrHistogram's percentile is the value of the sample number floor(p / 100 * count + 0.5). The
        spectrum has values at its steps only, so the figure may lie between two of them.
        """
        rank = (Decimal(percentile) / 100 * recorded + Decimal("0.5")).to_integral_value(ROUND_FLOOR)
        number = max(1, int(rank))
        step = next(step for step in steps if step.count >= min(number, recorded))
        if printed.agrees(Decimal(str(step.value_ms))):
            return step.value_ms
        # Binary floats may put the sample's number one off.
        below = max((step.value_ms for step in steps if step.count < number - 1), default=0.0)
        above = next((step.value_ms for step in steps if step.count > number), steps[-1].value_ms)
        if not below - float(printed.resolution) <= float(printed.ms) <= above + float(printed.resolution):
            raise fault(
                self.name,
                line,
                f"the percentile {percentile}% contradicts the spectrum, {below} to {above} ms",
            )
        return float(printed.ms)

    def _check_stats(self, stats: dict[str, _Printed | None], footer: dict[str, Decimal | None]) -> None:
        for key, printed in stats.items():
            exact = footer[key]
            if printed is None or (exact is not None and not printed.agrees(exact)):
                raise self._fault(
                    f"the {key} of the spectrum's footer, {exact} ms, is not the one in Thread Stats"
                )

    def _check_rate(self, rate: Decimal, requests: int, duration_ms: Decimal) -> None:
        if not duration_ms:
            raise self._fault("a run takes longer than 0 s")
        computed = requests / (duration_ms / 1000)
        if abs(computed - rate) > Decimal("0.01") + _CLOCK_TOLERANCE * computed:
            raise self._fault(
                f"{requests} requests in {duration_ms / 1000:f} s are {computed:.2f} a second, not {rate}"
            )

    def _must_be_alone(self) -> None:
        for number in range(self.at, len(self.lines)):
            if _RUNNING.fullmatch(self.lines[number].strip()):
                raise fault(self.name, number + 1, "a second run starts here; give each run its own file")

    # --- lines ---

    def _peek(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Match the next line that is not blank, and stay before it."""
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1
        if self.at == len(self.lines):
            return None
        return pattern.fullmatch(self.lines[self.at].strip())

    def _optional(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = self._peek(pattern)
        if match:
            self.at += 1
        return match

    def _expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = self._optional(pattern)
        if match is None:
            raise self._fault_next(what)
        return match

    def _find(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        while not (match := pattern.fullmatch(self._next(what))):
            pass
        return match

    def _next(self, what: str) -> str:
        if self.at == len(self.lines):
            raise self._fault_next(what)
        self.at += 1
        return self.lines[self.at - 1].strip()

    def _fault(self, what: str) -> IronbenchError:
        """Complain about the line that was read last."""
        return fault(self.name, self.at, what)

    def _fault_next(self, wanted: str) -> IronbenchError:
        if self.at == len(self.lines):
            return fault(self.name, self.at, f"the log ends here and {wanted} is missing")
        return fault(self.name, self.at + 1, f"wrk2 has {wanted} here, not {quoted(self.lines[self.at])}")


class _Printed:
    """A time as wrk2 prints it: two decimals of a unit."""

    def __init__(self, number: str, unit: str) -> None:
        self.ms = _ms(number, unit)
        self.resolution = _MS[unit] / 100

    def agrees(self, exact_ms: Decimal) -> bool:
        """Whether an exact figure (three decimals) may have been printed so, whatever way halves go."""
        return abs(exact_ms - self.ms) <= self.resolution / 2 + Decimal("0.0005")


def _ms(number: str, unit: str) -> Decimal:
    return Decimal(number) * _MS[unit]


def _latency_of(stats: dict[str, _Printed | None]) -> LatencyMs:
    mean, stdev, largest = (
        None if printed is None else float(printed.ms)
        for printed in (stats["mean"], stats["stdev"], stats["max"])
    )
    return LatencyMs(mean=mean, stdev=stdev, max=None if mean is None else largest)


# --- as other records --------------------------------------------------------------------------


def as_told(log: Wrk2Log, file: str) -> Told:
    """Put a log into the form of ``ironbench import wrk2 --json``."""
    return Told(
        file=file,
        latency_ms=log.corrected.latency_ms,
        recorded=log.corrected.recorded,
        requests=log.requests,
        duration_s=log.duration_s,
        errors=log.errors,
        non_2xx=log.non_2xx,
        spectrum=log.corrected.spectrum,
        uncorrected=log.uncorrected,
    )


def summary(distribution: Distribution, name: str) -> Latency:
    """Return the figures of one distribution as they stand in the log.

    Raises IronbenchError when wrk2 ran without ``--latency``.
    """
    if distribution.recorded is None:
        raise IronbenchError(f"{name} has no percentiles: wrk2 ran without --latency.")
    if not distribution.recorded:
        return NO_SAMPLES
    figures = distribution.latency_ms
    return Latency(
        count=distribution.recorded,
        **{key: getattr(figures, key) for key in LatencyMs.__struct_fields__},
    )


def merge(distributions: Sequence[Distribution]) -> Latency:
    """Summarise several distributions as one, by count.

    Mean, standard deviation and maximum are exact. A percentile of several distributions is exact to
    one step of their spectra: samples between two steps count as the upper one. Of one distribution
    it is the log's own.
    """
    filled = [part for part in distributions if part.recorded]
    if len(filled) == 1:
        return summary(filled[0], "")
    count = sum(part.recorded or 0 for part in filled)
    if not count:
        return NO_SAMPLES
    moments = [(part.recorded or 0, part.latency_ms.mean or 0, part.latency_ms.stdev or 0) for part in filled]
    mean = sum(n * m for n, m, _ in moments) / count
    variance = sum(n * (s**2 + (m - mean) ** 2) for n, m, s in moments) / count
    samples = sorted(sample for part in filled for sample in _samples(part.spectrum))
    return Latency(
        count=count,
        mean=mean,
        stdev=math.sqrt(variance),
        max=max(part.latency_ms.max or 0 for part in filled),
        censored=0,
        **{key: _value_at(samples, Decimal(percentile), count) for key, percentile in KEPT.items()},
    )


def quantiles(distributions: Sequence[Distribution], shares: Sequence[float]) -> list[float]:
    """Return the milliseconds that each part of the merged samples does not exceed, exact to a step of the spectra.

    ``shares`` ascend from 0 to 1. Raises IronbenchError when no distribution has a sample.
    """
    samples = sorted(sample for part in distributions for sample in _samples(part.spectrum))
    count = sum(more for _, more in samples)
    if not count:
        raise IronbenchError("these logs hold no latency spectrum: run wrk2 with --latency.")
    values = []
    seen, place = 0, -1
    for share in shares:
        wanted = max(1, math.floor(share * count + 0.5))
        while seen < wanted:
            place += 1
            seen += samples[place][1]
        values.append(samples[place][0])
    return values


def _samples(spectrum: list[Step]) -> Iterator[tuple[float, int]]:
    """Yield (value, samples that count as it)."""
    before = Step(value_ms=0, percentile=0, count=0)
    for last, step in pairwise([before, *spectrum]):
        if step.count > last.count:
            yield step.value_ms, step.count - last.count


def _value_at(samples: list[tuple[float, int]], percentile: Decimal, count: int) -> float:
    number = max(1, int((percentile / 100 * count + Decimal("0.5")).to_integral_value(ROUND_FLOOR)))
    seen = 0
    for value, more in samples:
        seen += more
        if seen >= number:
            return value
    return samples[-1][0]


def hgrm(raw: bytes, name: str) -> str:
    """Cut the corrected spectrum out of a log: it is the .hgrm text that HdrHistogram's plotters read."""
    lines = read_lines(raw, name)
    first = next(n for n, line in enumerate(lines) if _COLUMNS.fullmatch(line.strip()))
    last = next(n for n, line in enumerate(lines) if _BUCKETS.fullmatch(line.strip()))
    return "\n".join(lines[first : last + 1]) + "\n"


def load_result(log: Wrk2Log, name: str, experiment: Experiment, started_ns: int) -> LoadResult:
    """Put a log into the record of the built-in generator.

    wrk2 does not tell: single status codes, send lag, its own CPU time, ports, and how many requests
    were sent or left waiting; the last figure is the least it can be, all others are empty or zero.
    wrk2 stops without waiting for the answers under way, of which each connection may have one. Of the statuses
    it tells how many were neither 2xx nor 3xx; any other than the expected one of those counts as expected.
    No body is looked at.
    ``started_ns`` is 0 where it is not known.

    Raises IronbenchError when the log has no percentiles.
    """
    rate = experiment.load.rate
    scheduled = round(rate * log.duration_s)
    end_ns = started_ns + round(log.duration_s * 1e9) if started_ns else 0
    errors = {key: getattr(log.errors, key) for key in SocketErrors.__struct_fields__}
    return LoadResult(
        schema=SCHEMA,
        backend=WRK2,
        offered_rps=rate,
        achieved_rps=log.requests_per_s,
        scheduled=scheduled,
        sent=log.requests,
        completed=log.requests,
        unsent=max(0, scheduled - log.requests - log.driven),
        window_s=log.duration_s,
        idle_from_ns=started_ns,
        idle_until_ns=started_ns,
        first_send_ns=started_ns,
        window_end_ns=end_ns,
        drained_ns=end_ns,
        latency=msgspec.structs.replace(summary(log.corrected, name), censored=log.censored),
        service_time=NO_SAMPLES if log.uncorrected is None else summary(log.uncorrected, name),
        own_send_lag=NO_SAMPLES,
        system_send_lag=NO_SAMPLES,
        statuses={},
        unexpected_status=log.non_2xx,
        errors={kind: number for kind, number in errors.items() if number},
        reconnects=0,
        gate=Gate(ok=True, status=0, detail="", body_bytes=0),
        warmup_requests=0,
        cpu_ms=0,
        cpu_share=0,
        local_ports=[],
        threads=log.threads,
    )
