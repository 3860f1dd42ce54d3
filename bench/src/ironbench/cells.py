"""What the sides of an experiment are: the settings of each, and which of them are compared."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import msgspec

from ironbench.records import Factor, LoadChange

if TYPE_CHECKING:
    from ironbench.records import Experiment, Load

OF_LOAD: list[Factor] = [factor for factor in get_args(Factor) if factor in LoadChange.__struct_fields__]
REPETITION: Factor = "repetition"


def factors(experiment: Experiment) -> list[Factor]:
    """Return what the sides differ by; several are crossed."""
    return experiment.factor if isinstance(experiment.factor, list) else [experiment.factor]


def as_side(experiment: Experiment, name: str) -> Experiment:
    """Return the experiment as one of its sides has it: with that side's request and load."""
    cell = experiment.cells.get(name)
    if cell is None:
        return experiment
    return msgspec.structs.replace(
        experiment, request=cell.request or experiment.request, load=_changed(experiment.load, cell.load)
    )


def level(experiment: Experiment, name: str, factor: Factor) -> str:
    """Return what a side has of a factor, in words."""
    if factor == REPETITION:
        return name
    if factor == "variant":
        return experiment.cells[name].variant if name in experiment.cells else name
    side = as_side(experiment, name)
    if factor == "request":
        return f"{side.request.method} {side.request.path}"
    value = getattr(side.load, factor)
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings(experiment: Experiment, name: str) -> dict[Factor, object]:
    """Return all that a side may differ by from the others, repetition aside."""
    side = as_side(experiment, name)
    found: dict[Factor, object] = {factor: getattr(side.load, factor) for factor in OF_LOAD}
    found["variant"] = level(experiment, name, "variant")
    found["request"] = side.request
    return found


def groups(experiment: Experiment, factor: Factor) -> list[list[str]]:
    """Return the sides that differ in this one of the factors alone, together, in order; none that is alone."""
    others: list[Factor] = [one for one in factors(experiment) if one != factor]
    found: dict[tuple[str, ...], list[str]] = {}
    for name in experiment.variants:
        key = tuple(level(experiment, name, other) for other in others)
        found.setdefault(key, []).append(name)
    return [names for names in found.values() if len(names) > 1]


def pairs(experiment: Experiment, baseline: str) -> list[tuple[str, str]]:
    """Return the sides to compare, the changed one first: each with the first of those like it, and with the one before."""
    found = []
    for factor in factors(experiment):
        for names in groups(experiment, factor):
            first = baseline if baseline in names else names[0]
            found += [(name, first) for name in names if name != first]
            found += [(after, before) for before, after in pairwise(names) if after != first]
    return list(dict.fromkeys(found))


def _changed(load: Load, change: LoadChange) -> Load:
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
    return msgspec.structs.replace(load, **given)
