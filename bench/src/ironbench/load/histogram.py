"""HdrHistograms of durations: recording, summaries, merging by count, and their two text forms.

All histograms hold microseconds from 1 to 24 hours at 3 significant digits, as wrk2's do.
"""

from __future__ import annotations

import base64
import io
import math
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA, Latency, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOWEST = 1
HIGHEST = 24 * 3600 * 1_000_000
DIGITS = 3
_US_PER_MS = 1000
_HEADER_BYTES = 8
"""Cookie and length, before the deflated part of the V2 compressed form."""
_PAYLOAD = struct.Struct(">IIIIQQd")
"""Cookie, length, offset, digits, lowest, highest and ratio, before the counts."""
_COOKIE = 0x1C849303
_MAX_PAYLOAD = 1024 * 1024
"""Bytes of one histogram: its 28,672 counts take at most nine each."""


class Histograms(Record, frozen=True, kw_only=True):
    """histograms.json: the window's histograms as base64 of HdrHistogram's V2 compressed form.

    ``latency`` holds the completed requests and those that were given up, which ``timeouts`` holds alone.
    """

    schema: int = SCHEMA
    unit: str = "microseconds"
    lowest: int = LOWEST
    highest: int = HIGHEST
    significant_digits: int = DIGITS
    latency: str
    service_time: str
    own_send_lag: str
    system_send_lag: str
    timer_lag: str | None = None
    timeouts: str | None = None
    censored: int | None = None
    """Requests of ``latency`` that were given up. None: an earlier ironbench wrote this, whose ``latency`` lacks
    them."""

    def latency_counted(self) -> tuple[str, int]:
        """Return the encoded latency and how many requests of it were given up; raises as ``merge`` does."""
        if self.censored is not None or self.timeouts is None:
            return self.latency, self.censored or 0
        given_up = total([self.timeouts]).get_total_count()
        return (encode(total([self.latency, self.timeouts])) if given_up else self.latency), given_up


def of_durations(durations_ns: Iterable[int]) -> HdrHistogram:
    """Record durations (nanoseconds, rounded to microseconds) in a new histogram.

    Raises ValueError for a negative duration or one above 24 hours.
    """
    histogram = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    # Counted first: recording is Python's, and most microseconds come more than once.
    for value, count in Counter((duration + 500) // 1000 for duration in durations_ns).items():
        if not histogram.record_value(value, count):
            raise ValueError(f"a duration of {value} us does not fit the histogram")
    return histogram


def encode(histogram: HdrHistogram) -> str:
    """Encode as base64 text of the V2 compressed form."""
    return histogram.encode().decode("ascii")


def merge(encoded: list[str], censored: int = 0) -> Latency:
    """Summarise several encoded histograms as one, adding their counts; percentiles are never averaged.

    ``censored`` requests of them were given up.

    Raises IronbenchError for text that is not an encoded histogram.
    """
    return summarise(total(encoded), censored)


def total(encoded: list[str]) -> HdrHistogram:
    """Add up several encoded histograms; raises as ``merge`` does."""
    added = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for number, text in enumerate(encoded, 1):
        check(text, f"Histogram {number} of {len(encoded)}")
        try:
            added.decode_and_add(text)
        except Exception as error:  # hdrh raises zlib, binascii, type and header errors of its own
            raise IronbenchError(
                f"Histogram {number} of {len(encoded)} is not an encoded HdrHistogram V2 ({error}); "
                "take it from a histograms.json."
            ) from error
    return added


def quantiles(histogram: HdrHistogram, shares: Sequence[float]) -> list[float]:
    """Return the milliseconds that each part of the samples does not exceed; shares ascend from 0 to 1.

    By the rule of ``summarise``. Raises ValueError for an empty histogram.
    """
    count = histogram.get_total_count()
    if not count:
        raise ValueError("an empty histogram has no quantiles")
    values = []
    seen, index = 0, -1
    for share in shares:
        wanted = max(1, math.floor(share * count + 0.5))
        while seen < wanted:
            index += 1
            seen += histogram.counts[index]
        lowest = histogram.get_value_from_index(index)
        values.append(histogram.get_highest_equivalent_value(lowest) / _US_PER_MS)
    return values


def check(encoded: str, where: str) -> None:
    """Raise IronbenchError, which names ``where``, when the text is not a whole encoded histogram of this module's range.

    Its own checksum tells, at a small part of the cost of decoding it; nothing in it decides how much memory is taken.
    """
    unpack = zlib.decompressobj()
    try:
        payload = unpack.decompress(base64.b64decode(encoded, validate=True)[_HEADER_BYTES:], _MAX_PAYLOAD)
    except (ValueError, zlib.error) as error:
        raise IronbenchError(f"{where} holds a histogram that is not whole ({error}).") from error
    if not unpack.eof or len(payload) < _PAYLOAD.size:
        raise IronbenchError(
            f"{where} holds a histogram that is not whole (it is cut off, or much too large)."
        )
    cookie, length, offset, digits, lowest, highest, _ = _PAYLOAD.unpack_from(payload)
    if cookie & ~0xF0 != _COOKIE or length != len(payload) - _PAYLOAD.size or offset:
        raise IronbenchError(f"{where} holds a histogram that is no HdrHistogram V2.")
    if (lowest, highest, digits) != (LOWEST, HIGHEST, DIGITS):
        raise IronbenchError(
            f"{where} holds a histogram of {lowest} to {highest} with {digits} digits, and those of ironbench are of "
            f"{LOWEST} to {HIGHEST} microseconds with {DIGITS}."
        )


def summarise(histogram: HdrHistogram, censored: int = 0) -> Latency:
    """Summarise in milliseconds; ``censored`` requests of it were given up.

    Percentiles by HdrHistogram's rule, in the form that wrk2 has: the highest value equivalent to
    that of the sample number floor(p / 100 * count + 0.5), at least the first. Mean and standard
    deviation (of the population) take each bucket's middle; max is the highest value equivalent to
    the largest, so no percentile exceeds it, and a decoded histogram gives the same figures.
    """
    count = histogram.get_total_count()
    if count == 0:
        return Latency(count=0, mean=0, stdev=0, p50=0, p75=0, p90=0, p99=0, p999=0, max=0)
    at = histogram.get_percentile_to_value_dict([50, 75, 90, 99, 99.9])
    recorded = [(_middle(histogram, i), number) for i, number in enumerate(histogram.counts) if number]
    mean = math.fsum(value * number for value, number in recorded) / count
    variance = math.fsum((value - mean) ** 2 * number for value, number in recorded) / count
    return Latency(
        count=count,
        mean=mean / _US_PER_MS,
        stdev=math.sqrt(variance) / _US_PER_MS,
        p50=at[50] / _US_PER_MS,
        p75=at[75] / _US_PER_MS,
        p90=at[90] / _US_PER_MS,
        p99=at[99] / _US_PER_MS,
        p999=at[99.9] / _US_PER_MS,
        max=histogram.get_max_value() / _US_PER_MS,
        censored=censored,
    )


def _middle(histogram: HdrHistogram, index: int) -> int:
    """Middle of a bucket, as hdrh has it, whose own mean and deviation walk over every value (100 ms)."""
    lowest = histogram.get_value_from_index(index)
    return lowest + ((histogram.get_highest_equivalent_value(lowest) - lowest + 1) >> 1)


def hgrm(histogram: HdrHistogram) -> str:
    """Write the .hgrm text that HdrHistogram's plotters read, in milliseconds.

    hdrh's own writer leaves the standard deviation unscaled, so only its iterator is used.
    """
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for step in histogram.get_percentile_iterator(5):
        level = step.percentile_level_iterated_to / 100
        line = (
            f"{step.value_iterated_to / _US_PER_MS:12.3f} {level:14.12f} {step.total_count_to_this_value:10d}"
        )
        lines.append(line if math.isclose(level, 1, abs_tol=1e-12) else f"{line} {1 / (1 - level):14.2f}")
    summary = summarise(histogram)
    lines += [
        f"#[Mean    = {summary.mean:12.3f}, StdDeviation   = {summary.stdev:12.3f}]",
        f"#[Max     = {summary.max:12.3f}, Total count    = {summary.count:12d}]",
        f"#[Buckets = {histogram.bucket_count:12d}, SubBuckets     = {histogram.sub_bucket_count:12d}]",
    ]
    return "\n".join(lines) + "\n"


def hlog(histogram: HdrHistogram, start_ns: int, end_ns: int) -> str:
    """Write the histogram as a log of one interval, version 1.2, as HdrHistogram's log tools read it.

    Times are CLOCK_REALTIME. The values are microseconds, so the tools' option for milliseconds is
    ``-outputValueUnitRatio 1000``; Interval_Max is in milliseconds already.
    """
    text = io.StringIO()
    log = HistogramLogWriter(text)
    log.output_comment("[Values are microseconds]")
    log.output_log_format_version()
    # hdrh's own writer of this line calls a method that does not exist.
    log.output_comment(f"[StartTime: {start_ns / 1e9:.3f} (seconds since epoch)]")
    log.output_base_time(0)
    log.output_legend()
    histogram.set_start_time_stamp(start_ns / 1e6)
    histogram.set_end_time_stamp(end_ns / 1e6)
    log.output_interval_histogram(histogram, max_value_unit_ratio=_US_PER_MS)
    return text.getvalue()
