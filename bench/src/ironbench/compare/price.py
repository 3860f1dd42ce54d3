"""What a million requests cost on each host: CPU time at the price of the machine that spent it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ironbench.compare.environment import services_of
from ironbench.metrics import SERVICES
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ironbench.compare.environment import Side

CPU_MS_AN_HOUR = 3_600_000.0
MILLION = 1_000_000


class Priced(Record, frozen=True, kw_only=True):
    """One variant, by bundle; None where it was not measured there, or the machines' price is not told."""

    experiment: str
    variant: str
    cpu_ms: list[float | None]
    """Per request, of all services."""
    per_million: list[float | None]
    """In the currency that the prices were given in."""


def priced(sides: Sequence[Side], sessions: Callable[[Side, str, str, str], list[float]]) -> list[Priced]:
    """Return all variants of all bundles, if one of the bundles tells what its machines cost.

    ``sessions`` gives the figures of a bundle: of an experiment, a variant and a metric. A machine is paid for whether
    it works or not; this is the share of its CPUs that requests need, as if others used the rest.
    """
    rates = [_rates(side) for side in sides]
    if not any(rates):
        return []
    asked = dict.fromkeys(
        (name, variant)
        for side in sides
        for name, experiment in side.plan.experiments.items()
        for variant in experiment.variants
    )
    found = []
    for name, variant in asked:
        services = [_medians(side, name, variant, sessions) for side in sides]
        if any(services):
            found.append(
                Priced(
                    experiment=name,
                    variant=variant,
                    cpu_ms=[sum(known.values()) if known else None for known in services],
                    per_million=[_price(*one) for one in zip(rates, services, strict=True)],
                )
            )
    return found


def _medians(
    side: Side, experiment: str, variant: str, sessions: Callable[[Side, str, str, str], list[float]]
) -> dict[str, float]:
    figures = {service: sessions(side, experiment, variant, f"{service}_cpu_ms") for service in SERVICES}
    return {service: statistics.median(known) for service, known in figures.items() if known}


def _price(rates: dict[str, float], services: dict[str, float]) -> float | None:
    if not services or not services.keys() <= rates.keys():
        return None
    return MILLION * sum(spent * rates[service] for service, spent in services.items()) / CPU_MS_AN_HOUR


def _rates(side: Side) -> dict[str, float]:
    """Return what one CPU costs an hour, by the service that runs on it."""
    rates = {}
    for told in side.results.environment.values():
        try:
            rate = float(told["machine"]["price_per_hour"]) / int(told["cpu_count"])
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        rates |= dict.fromkeys(services_of(told), rate)
    return rates
