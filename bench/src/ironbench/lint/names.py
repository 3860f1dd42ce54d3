"""What the header of a column, or the name of a row, says that its figures are of."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ironbench.lint.tables import Metric
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

_STATS = {
    "stdev": ("stdev", "stddev", "std", "sd", "sigma", "deviation"),
    "min": ("min", "minimum", "fastest"),
    "max": ("max", "maximum", "slowest"),
    "mean": ("mean", "avg", "average"),
    "p50": ("median", "med"),
    "connections": ("connections", "conns"),
    "runs": ("runs", "repetitions", "reps", "repeats", "iterations", "sessions", "trials", "n"),
    "count": ("recorded", "samples", "count", "requests"),
    "achieved": ("achieved", "throughput", "qps"),
    "rate": ("offered", "target", "rate"),
    "duration": ("duration", "elapsed"),
}
"""Words by what they name; the first that is found counts."""
_WORDS = {word: stat for stat, words in _STATS.items() for word in words}

_DELTA = frozenset(
    ("delta", "difference", "diff", "change", "overhead", "improvement", "reduction", "gain", "speedup", "vs")
)
_PLAIN = frozenset(
    (
        *(
            "latency",
            "latencies",
            "lat",
            "response",
            "time",
            "times",
            "ms",
            "us",
            "µs",
            "μs",
            "ns",
            "s",
            "sec",
        ),
        *(
            "seconds",
            "msec",
            "pct",
            "percent",
            "percentile",
            "%",
            "dev",
            "of",
            "the",
            "in",
            "number",
            "total",
        ),
        *("relative", "absolute", "standard", "to", "from", "and", "per", "second", "corrected"),
    )
)
"""Words that do not tell one family of figures from another."""

_RATES = frozenset(("throughput", "rps", "qps", "rate", "achieved"))

_UNIT = re.compile(r"(?:^|[\s(\[,_])(ns|us|µs|μs|ms|msec|s|sec|seconds|%|pct|percent|rps|x)[\s)\]]*$")
_INNER_UNIT = re.compile(r"[\s(\[,_](ns|us|µs|μs|ms)[)\]]?[\s._]")
_SUMMARY = re.compile(r"\b(?:mean|avg|average|median|all|total|overall|merged|combined|published)\b")
_AGAIN = re.compile(r"\(\s*\d+(?:\.\d+)?\s*%\s*\)")
"""As in ``P90 (90%)``."""
_PERCENTILES = (
    re.compile(r"(?<![a-z0-9])p\s?\(?(\d{1,5}(?:[._]\d{1,4})?)(?![\d.])\)?"),
    re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,4})?)\s?th(?![a-z])"),
    re.compile(r"\bpercentile\s+(\d{1,3}(?:\.\d{1,4})?)"),
    re.compile(r"^\s*(\d{1,3}(?:\.\d{1,4})?)\s?%(?:ile)?\s*$"),
)


class Name(Record, frozen=True, kw_only=True):
    metric: Metric
    """Its ``stat`` is empty for figures that lint has no word for."""
    unit: str
    delta: bool


@lru_cache(maxsize=4096)
def read_name(text: str) -> Name:
    """Tell what figures under (or beside) a name are of; any text has an answer."""
    plain = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower().replace("δ", " delta ")
    plain = re.sub(r"req(?:uest)?s?\s*(?:/|per)\s*s(?:ec(?:ond)?s?)?\b", " throughput ", plain)
    unit = _UNIT.search(plain) or _INNER_UNIT.search(plain)
    rest, stat = _percentile(_AGAIN.sub(" ", plain))
    words = re.findall(r"[^\W\d_]+|\d+", rest)
    known = [_WORDS[word] for word in words if word in _WORDS]
    if not stat:
        stat = next((name for name in _STATS if name in known), "")
    if not stat and "rps" in words:
        stat = "achieved"
    family = [word for word in words if word not in {*_WORDS, *_PLAIN, *_DELTA, "rps"}]
    if stat not in ("rate", "achieved") and _RATES.intersection(words):
        family.insert(0, "rate")  # as in ``max rps``: no latency
    default = "s" if stat == "duration" else ""
    return Name(
        metric=Metric(stat=stat, family=" ".join(family)),
        unit=unit[1] if unit else default,
        delta=bool(_DELTA.intersection(words)),
    )


def differs(text: str, others: Iterable[str]) -> bool:
    """Whether the name of a column (or row) says that it is the difference of others.

    ``Delta (baseline to final)`` does; ``change password`` is a name of its own.
    """
    name = read_name(text)
    known = [word for other in others if other != text for word in re.findall(r"[^\W_]+", other.lower())]
    rest = name.metric.family.split()
    return name.delta and all(any(word.startswith(part) for word in known) for part in rest)


def is_summary(text: str) -> bool:
    """Whether a row with this name sums others up."""
    return _SUMMARY.search(text.lower()) is not None


def _percentile(text: str) -> tuple[str, str]:
    """Return the text without the percentile that it names, and that percentile."""
    for pattern in _PERCENTILES:
        match = pattern.search(text)
        if match is None:
            continue
        digits = match[1].replace("_", ".")
        if "." not in digits and len(digits) > 2 and digits.startswith("99"):
            digits = f"{digits[:2]}.{digits[2:]}"  # p999 is p99.9
        level = float(digits)
        if level > 100:
            continue
        stat = {0.0: "min", 100.0: "max"}.get(level, f"p{level:g}")
        return text[: match.start()] + " " + text[match.end() :], stat
    return text, ""
