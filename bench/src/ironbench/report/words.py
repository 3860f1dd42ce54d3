"""How figures are written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ironbench.metrics import METRICS, PLAN_METRICS
from ironbench.records import side_name

if TYPE_CHECKING:
    from ironbench.records import Comparison, Effect, Results

CALLS = {
    "lower": "lower",
    "higher": "higher",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "too few runs": "too few runs for a verdict",
}
PACKED = "packed layout: no verdict"
NO_VERDICT = "no verdict"


_BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"^(?=\[)|(?<=\])(?=[\[(])")
"""Between the text of a link and where it leads, and where a definition of a link would begin."""


def one_line(text: str) -> str:
    """Return a text without line breaks, so that what a host or a study says cannot begin a line of the report."""
    return _BREAKS.sub(" ", text)


def markdown(text: str) -> str:
    """Escape a text for Markdown: it begins no line, no tag, and no link."""
    return _LINK.sub(r"\\", _TAG.sub("&lt;", one_line(text)))


def markdown_cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return markdown(text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`"))


def number(value: float, *, sign: bool = False) -> str:
    """Write a figure with about four digits; whole counts stay whole."""
    if isinstance(value, int):
        return f"{value:+d}" if sign else str(value)
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def metric_title(name: str, *, unit: bool = True) -> str:
    """Write a metric's name out; one that this ironbench does not know keeps its own."""
    metric = METRICS.get(name) or PLAN_METRICS.get(name)
    if metric is None:
        return name
    return f"{metric.title}, {metric.unit}" if unit and metric.unit not in ("count", "") else metric.title


def change(factor: float) -> str:
    """Write a factor as a change in per cent of the other side."""
    return f"{100 * (factor - 1):+.1f} %"


def effect_text(effect: Effect) -> str:
    """Write an effect with its interval, if it has one, as ``-22.1 % (-25.0..-19.2)``."""
    if effect.value is None:
        return "no block has both"
    text = change(effect.value)
    if effect.low is not None and effect.high is not None:
        text += f" ({100 * (effect.low - 1):+.1f}..{100 * (effect.high - 1):+.1f})"
    return text


def call_text(effect: Effect) -> str:
    """Write what an effect shows."""
    metric = METRICS.get(effect.comparison.metric)
    if effect.packed and metric is not None and (metric.latency or metric.whole_cpus):
        return PACKED
    return NO_VERDICT if effect.withheld else CALLS[effect.call]


def sides_text(comparison: Comparison) -> str:
    """Name the two sides of a comparison."""
    return f"{comparison.variant} against {comparison.against}"


def margin_text(margin: float) -> str:
    """Write a margin as a part of the other side."""
    return f"{100 * margin:.1f} %"


def sides(results: Results, experiment: str) -> list[str]:
    """Return the sides of an experiment that have a sealed run, each variant followed by its second session."""
    (card,) = [card for card in results.scorecards if card.experiment == experiment]
    there = {run.side for run in results.runs if run.experiment == experiment}
    both = [side_name(variant, again=again) for variant in card.variants for again in (False, True)]
    return [side for side in both if side in there]
