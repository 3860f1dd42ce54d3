"""Stacks as py-spy counts them: text in, counts and shares out."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.patterns import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ironbench.records import NamedFunction

    Stack = tuple[str, ...]
    Stacks = Mapping[Stack, int]
    """Samples by stack, the outermost frame first."""

NO_FRAME = "(no frame)"
MAX_DIGITS = 15
"""Of a count: more samples than that no recording has."""
_LINE = re.compile(r":\d+\)$")


def parse(text: str, where: str) -> Counter[Stack]:
    """Read py-spy's raw format: a line a stack, ``frame;frame;frame COUNT``.

    Frames lose their line numbers: a function is one frame. A thread that was seen outside of any function has
    NO_FRAME alone. Raises IronbenchError, which starts with ``where``,
    for a line that is something else.
    """
    found: Counter[Stack] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        stack, _, count = line.rpartition(" ")
        if not (count.isascii() and count.isdigit() and len(count) <= MAX_DIGITS):
            raise IronbenchError(f"{where}, line {number}, is no stack with a count; record it again.")
        found[tuple(_LINE.sub(")", frame) for frame in (stack or NO_FRAME).split(";"))] += int(count)
    return found


def folded(stacks: Stacks) -> str:
    """Write stacks in the same format, in the order of their frames."""
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(stacks.items()))


def merge(several: Iterable[Stacks]) -> Counter[Stack]:
    """Add up by count."""
    total: Counter[Stack] = Counter()
    for stacks in several:
        total.update(stacks)
    return total


def working(stacks: Stacks, waiting: str) -> Counter[Stack]:
    """Leave out the samples of threads that had nothing to do: whose innermost frame matches."""
    pattern = compiled(waiting)
    return Counter({stack: count for stack, count in stacks.items() if not pattern.search(stack[-1])})


def share(stacks: Stacks, function: NamedFunction) -> float | None:
    """Return a function's part of the samples, in per cent: inclusive, as a flame graph's width.

    None without a sample.
    """
    total = sum(stacks.values())
    if not total:
        return None
    inside = sum(count for stack, count in stacks.items() if has(stack, function))
    return 100 * inside / total / function.times


def has(stack: Stack, function: NamedFunction) -> bool:
    """Whether a sample counts for a function."""
    frames = compiled(function.frames)
    if not any(frames.search(frame) for frame in stack):
        return False
    return not function.without or not any(map(compiled(function.without).search, stack))


def speedscope(stacks: Stacks, name: str) -> dict:
    """Return the stacks as speedscope's file format has them (a profile of type ``sampled``).

    Source: https://www.speedscope.app/file-format-schema.json. Weights are samples; of when they were taken nothing
    is known.
    """
    frames: dict[str, int] = {}
    samples, weights = [], []
    for stack, count in sorted(stacks.items()):
        samples.append([frames.setdefault(frame, len(frames)) for frame in stack])
        weights.append(count)
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "none",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }
