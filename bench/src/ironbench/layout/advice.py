"""The best core layout of a topology: every candidate is judged by ``findings``, and the best one is taken."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations, product
from typing import TYPE_CHECKING

from ironbench.cpus import parse_cpu_list
from ironbench.layout.findings import MEASURED, OWNERS, RULES, SERVICES, Finding, findings
from ironbench.layout.topology import cpu_text
from ironbench.records import CoreLayout, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ironbench.layout.topology import Cpu, Topology

FEWEST = 4
"""Cores that a layout needs that is not packed: one for each of app, database, cache and load generator."""
WIDTHS = (
    (2, 2, 2, 2, 2),
    (2, 2, 2, 2, 1),
    (2, 2, 1, 2, 1),
    (2, 1, 1, 2, 1),
    (2, 1, 1, 1, 1),
    (1, 1, 1, 1, 1),
    (1, 1, 1, 1, 0),
)
"""Cores of each of OWNERS, the most wanted first: the article's two CPUs each, on cores of their own while there
are enough, then on the threads of one core. Housekeeping without a core shares the cache's, as in the article."""
MINOR = ("spread", "cpu0")
"""Rules that a wider layout may break."""
SHOWN = 4
"""Cores of which the CPUs are told in a reason."""
_MARKS = re.compile(r"\((?:R|TM)\)", re.IGNORECASE)
_NO_NAME = re.compile(r"\b(?:AMD|Intel|CPU|Processor|\S+-Core)\b|@.*", re.IGNORECASE)


class Advice(Record, frozen=True, kw_only=True):
    """A layout, why it is that one, and what is wrong with it all the same."""

    model: str
    layout: CoreLayout
    reasons: list[str]
    findings: list[Finding]


class Judged(Record, frozen=True, kw_only=True):
    """A finding about a layout that somebody chose; ``avoidable``: the advised layout has it not."""

    rule: str
    owners: list[str]
    detail: str
    avoidable: bool


def advise(topology: Topology) -> Advice:
    """Return the best layout of a topology; the same topology gets the same one."""
    few = len(topology.cores) < FEWEST
    layout = _layout("packed", _packed(topology.cores), packed=True) if few else _best(topology)
    found = findings(topology, layout)
    reasons = [*_why(topology, layout), *(f"Cannot be avoided here: {one.detail}." for one in found)]
    return Advice(model=topology.model, layout=layout, reasons=reasons, findings=found)


def judge(topology: Topology, layout: CoreLayout, owners: Sequence[str] = OWNERS) -> list[Judged]:
    """Return what is wrong with a layout for the owners that the host has, and what of it can be avoided there."""
    best = {(one.rule, *one.owners) for one in advise(topology).findings}
    return [
        Judged(
            rule=one.rule,
            owners=one.owners,
            detail=one.detail,
            avoidable=(one.rule, *one.owners) not in best,
        )
        for one in findings(topology, layout, owners)
    ]


# --- reasons -----------------------------------------------------------------------------------


def _why(topology: Topology, layout: CoreLayout) -> Iterator[str]:
    cores = topology.cores
    nodes = {cpu.node for cpu in topology.cpus}
    what = "module" if topology.modules else "core"
    counts = (_many(len(topology.cpus), "CPU"), _many(len(cores), what), _many(len(nodes), "NUMA node"))
    yield "{}: {} on {}, {}.".format(topology.model, *counts)
    yield from _why_cores(topology)
    if layout.packed:
        yield (
            f"app, database, cache and load generator would need a {what} each, and this host has {len(cores)}: they "
            "share, so no verdict on latency is given."
        )
        return
    of = {cpu.number: cpu for cpu in topology.cpus}
    owned = {owner: [of[number] for number in parse_cpu_list(getattr(layout, owner))] for owner in OWNERS}
    given = {cpu.number for its in owned.values() for cpu in its}
    busy = {cpu.core for owner in MEASURED for cpu in owned[owner]}
    idle = {cpu.number for cpu in topology.cpus if cpu.core in busy} - given
    if idle:
        yield f"Of a core that an owner has beside another one thread works; the others, CPUs {cpu_text(idle)}, idle."
    if len(owned["app"]) == 1:
        yield "The app has one CPU only: auth_app_workers: 1 fits it."
    if layout.housekeeping == layout.cache:
        yield f"All {_many(len(cores), what)} are taken, so housekeeping overlaps the cache's, which idles most."
    else:
        zero = ": CPU 0 is among them, where most interrupts and the kernel's own work begin"
        yield f"Housekeeping has CPUs of its own{zero if 0 in parse_cpu_list(layout.housekeeping) else ''}."
    l3 = {owner: {(cpu.node, cpu.l3) for cpu in owned[owner]} for owner in ("app", "load_generator")}
    if l3["app"].isdisjoint(l3["load_generator"]):
        yield "app and load generator have no L3 cache in common."
    if len(nodes) > 1:
        its = {cpu.node for owner in SERVICES for cpu in owned[owner]}
        yield f"app, database and cache lie on NUMA node {cpu_text(its)}."
    if slow := [cpu.number for cpu in topology.cpus if cpu.speed]:
        yield f"CPUs {cpu_text(slow)} are slower cores; nobody has cores of two kinds."
    if rest := of.keys() - given - idle:
        yield f"CPUs {cpu_text(rest)} are nobody's."


def _why_cores(topology: Topology) -> Iterator[str]:
    shared = [cpu_text(cpu.number for cpu in core) for core in topology.cores if len(core) > 1]
    told = "; ".join(shared[:SHOWN]) + (f"; and {len(shared) - SHOWN} more" if len(shared) > SHOWN else "")
    if topology.modules:
        yield f"The CPUs of a module share a front end and the L2 cache, so a module has one owner: {told}."
    elif shared:
        yield f"CPUs that are threads of one core have one owner: {told}."
    elif topology.virtual:
        yield (
            "This virtual machine shows no CPUs that share a core. If its provider sells threads, two of them may, and "
            "nothing here can tell."
        )


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


# --- candidates --------------------------------------------------------------------------------


def _best(topology: Topology) -> CoreLayout:
    """Return the candidate that breaks the worst rules least, then the widest, then the minor rules; first of equals."""
    name, cores = _name(topology.model), topology.cores
    ranked = []
    for place, widths in enumerate(WIDTHS):
        for candidate in _candidates(cores, widths):
            layout = _layout(name, candidate)
            counts = Counter(finding.rule for finding in findings(topology, layout))
            major, minor = (
                [counts[rule] for rule in RULES if (rule in MINOR) == is_minor] for is_minor in (False, True)
            )
            ranked.append((major, place, minor, len(ranked), layout))
        if any(not any(major) for major, *_ in ranked):
            break  # nothing narrower is better
    return min(ranked, key=lambda one: one[:-1])[-1]


def _candidates(cores: list[list[Cpu]], widths: Sequence[int]) -> Iterator[dict[str, list[int]]]:
    """Put the owners in a row along the cores, in every order, housekeeping first or last."""
    for first, order, apart in product((True, False), permutations(MEASURED), (False, True)):
        row = ("housekeeping", *order) if first else (*order, "housekeeping")
        given = _row(cores, row, dict(zip(OWNERS, widths, strict=True)), apart=apart)
        if given is not None:
            yield given


def _row(
    cores: list[list[Cpu]], order: Sequence[str], widths: Mapping[str, int], *, apart: bool
) -> dict[str, list[int]] | None:
    """Give each owner the next cores that are of one kind and have one L3; None when they do not suffice.

    ``apart``: the load generator begins where another L3 or NUMA node does.
    """
    places = [(core[0].node, core[0].l3) for core in cores]
    kinds = [(place, core[0].speed) for place, core in zip(places, cores, strict=True)]
    given: dict[str, list[int]] = {}
    position = 0
    for owner in order:
        width = widths[owner]
        if apart and owner == "load_generator" and position:
            before = places[position - 1]
            position = next((at for at in range(position, len(cores)) if places[at] != before), len(cores))
        fitting = range(position, len(cores) - width + 1)
        start = next((at for at in fitting if len(set(kinds[at : at + width])) <= 1), None)
        if start is None:
            return None
        its = cores[start : start + width]
        # Of two cores a measured owner has one thread each; the others are left idle.
        threads = None if width == 1 or owner == "housekeeping" else 1
        given[owner] = [cpu.number for core in its for cpu in core[:threads]]
        position = start + width
    given["housekeeping"] = given["housekeeping"] or given["cache"]
    return given


def _packed(cores: list[list[Cpu]]) -> dict[str, list[int]]:
    """Share out fewer than four cores: first the app apart from the others, then the load generator."""
    app, *others = ([cpu.number for cpu in core] for core in cores)
    everything = [*app, *(number for core in others for number in core)]
    if not others or len(everything) == 2:
        # As inventory/sandbox: one CPU would not carry the article's signups, and all else shares with the app.
        rest, generator = everything[:1], everything[-1:]
        return dict(zip(OWNERS, (everything, rest, rest, generator, generator), strict=True))
    generator = others[-1]
    rest = others[0]
    if rest is generator:
        generator, rest = rest[:1], rest[1:] or rest
    return dict(zip(OWNERS, (app, rest, rest, generator, rest), strict=True))


def _layout(name: str, cpus: Mapping[str, Iterable[int]], *, packed: bool = False) -> CoreLayout:
    return CoreLayout(name=name, packed=packed, **{owner: cpu_text(cpus[owner]) for owner in OWNERS})


def _name(model: str) -> str:
    """Return a CPU's name as a label: "AMD FX(tm)-8320 Eight-Core Processor" -> "fx8320"."""
    words = (re.sub(r"\W|_", "", word) for word in _NO_NAME.sub(" ", _MARKS.sub("", model)).lower().split())
    return "-".join(filter(None, words)) or "advised"
