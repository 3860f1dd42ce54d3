"""What is wrong with a core layout on a topology: the one judge of the advice and of the preflight's warning."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.layout.topology import cpu_text
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ironbench.layout.topology import Cpu, Topology
    from ironbench.records import CoreLayout

SERVICES = ("app", "database", "cache")
MEASURED = (*SERVICES, "load_generator")
OWNERS = (*MEASURED, "housekeeping")

Rule = Literal["offline", "cpu", "core", "l2", "kinds", "unlike", "slow", "l3", "node", "spread", "cpu0"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""The worst first."""

_LEVELS: tuple[tuple[Rule, str], ...] = (("cpu", "number"), ("core", "core"), ("l2", "l2"), ("l3", "l3"))


class Finding(Record, frozen=True, kw_only=True):
    """One thing that is wrong with a layout; ``detail`` is a sentence without its stop."""

    rule: Rule
    owners: list[str]
    detail: str


def findings(topology: Topology, layout: CoreLayout, owners: Sequence[str] = OWNERS) -> list[Finding]:
    """Return what is wrong, the worst first; ``owners`` are those that the host has.

    A packed layout shares CPUs and caches by intention; of it only the rules offline and kinds are asked.

    Raises IronbenchError when a list of the layout is no CPU list.
    """
    known = {cpu.number: cpu for cpu in topology.cpus}
    wanted = {owner: _numbers(layout, owner) for owner in OWNERS if owner in owners}
    cpus = {
        owner: [known[number] for number in numbers if number in known] for owner, numbers in wanted.items()
    }
    found = [*_offline(wanted, known), *_kinds(cpus)]
    if not layout.packed:
        found += [
            *_shared(topology, cpus),
            *_unlike(cpus),
            *_slow(topology, cpus),
            *_nodes(cpus),
            *_spread(cpus),
            *_cpu0(cpus),
        ]
    return sorted(found, key=lambda finding: RULES.index(finding.rule))


def _numbers(layout: CoreLayout, owner: str) -> list[int]:
    try:
        return parse_cpu_list(getattr(layout, owner))
    except ValueError as error:
        raise IronbenchError(
            f"core_layout.{owner} is '{getattr(layout, owner)}', which is no list of CPUs: write numbers and ranges, "
            'such as "0-1" or "2,4-5".'
        ) from error


def _offline(wanted: Mapping[str, list[int]], known: Mapping[int, Cpu]) -> Iterator[Finding]:
    for owner, numbers in wanted.items():
        if missing := [number for number in numbers if number not in known]:
            yield Finding(
                rule="offline",
                owners=[owner],
                detail=f"{owner} has CPU {cpu_text(missing)}, which is not online",
            )


def _shared(topology: Topology, cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    """Yield the closest thing that two owners share; of the caches only what app and load generator do."""
    core = "a module, its front end and its L2 cache" if topology.modules else "a core"
    names = {"cpu": "a CPU", "core": core, "l2": "an L2 cache", "l3": "an L3 cache"}
    for first, second in combinations(cpus, 2):
        if (first, second) == ("cache", "housekeeping"):  # the article's cores are all taken
            continue
        for rule, attribute in _LEVELS if (first, second) == ("app", "load_generator") else _LEVELS[:2]:
            here, there = (
                {getattr(cpu, attribute) for cpu in cpus[owner]} - {None} for owner in (first, second)
            )
            if here & there:
                both = " and ".join(f"{owner} (CPU {_text(cpus[owner])})" for owner in (first, second))
                yield Finding(
                    rule=rule,
                    owners=[first, second],
                    detail=f"{both} share {names[rule]}, so the work of one can slow the other",
                )
                break


def _kinds(cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    for owner, its in cpus.items():
        if len({cpu.speed for cpu in its}) > 1:
            yield Finding(
                rule="kinds",
                owners=[owner],
                detail=f"{owner} (CPU {_text(its)}) has fast and slow cores, so its speed depends on where the kernel "
                "puts it",
            )


def _unlike(cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    app = {cpu.speed for cpu in cpus.get("app", [])}
    for owner in MEASURED[1:]:
        its = cpus.get(owner, [])
        if app and its and {cpu.speed for cpu in its} != app:
            yield Finding(
                rule="unlike",
                owners=["app", owner],
                detail=f"app (CPU {_text(cpus['app'])}) and {owner} (CPU {_text(its)}) have cores of different speed",
            )


def _slow(topology: Topology, cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    its = cpus.get("app", [])
    if its and min(cpu.speed for cpu in its) > min(cpu.speed for cpu in topology.cpus):
        yield Finding(
            rule="slow",
            owners=["app"],
            detail=f"app (CPU {_text(its)}) has slow cores, and this host has faster ones",
        )


def _nodes(cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    nodes = {owner: {cpu.node for cpu in cpus[owner]} for owner in SERVICES if cpus.get(owner)}
    if len(set().union(*nodes.values())) > 1:
        told = ", ".join(f"{owner} on {cpu_text(its)}" for owner, its in nodes.items())
        yield Finding(
            rule="node",
            owners=list(nodes),
            detail=f"the services lie on several NUMA nodes ({told}), and talk across",
        )


def _spread(cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    for owner in MEASURED:
        its = cpus.get(owner, [])
        if len({(cpu.node, cpu.l3) for cpu in its}) > 1:
            yield Finding(
                rule="spread",
                owners=[owner],
                detail=f"the CPUs of {owner} ({_text(its)}) have several L3 caches",
            )


def _cpu0(cpus: Mapping[str, list[Cpu]]) -> Iterator[Finding]:
    """Yield whose CPU 0 is, unless housekeeping shares the cache's CPUs and the kernel's work is somebody's anyway."""
    numbers = {owner: {cpu.number for cpu in its} for owner, its in cpus.items()}
    housekeeping = numbers.get("housekeeping", set())
    if housekeeping and housekeeping.isdisjoint(numbers.get("cache", set())):
        for owner in ("app", "load_generator"):
            if 0 in numbers.get(owner, set()):
                yield Finding(
                    rule="cpu0",
                    owners=[owner],
                    detail=f"CPU 0, where most interrupts and the kernel's own work begin, is {owner}'s, although "
                    "housekeeping has CPUs of its own",
                )


def _text(cpus: Sequence[Cpu]) -> str:
    return cpu_text(cpu.number for cpu in cpus)
