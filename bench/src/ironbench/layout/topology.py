"""A host's topology as ironbench understands it, from what the kernel tells."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.host.topology import CPU_TYPES
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODULES = ("AuthenticAMD", "21")
"""AMD's family 15h: two CPUs of a module share a front end and the L2. Some kernels call them siblings, some do
not."""
SAME_SPEED = 0.85
"""CPUs whose capacity or highest frequency is less than this share of the next faster ones' are of another kind:
the favoured cores of one kind differ by a few per cent, P and E cores by a quarter and more."""


class Cpu(Record, frozen=True, kw_only=True):
    """One CPU that is online. ``core``, ``l2`` and ``l3`` are named by the lowest online CPU that shares them."""

    number: int
    core: int
    """The CPUs of one core are its SMT threads, or those of a family-15h module."""
    l2: int
    l3: int | None
    """None where the kernel does not tell."""
    node: int
    speed: int
    """0: the fastest kind of cores of this host, 1: the next (P and E, big and little)."""


class Topology(Record, frozen=True, kw_only=True):
    """The online CPUs of a host, ascending."""

    model: str
    cpus: list[Cpu]
    modules: bool = False
    """True: what is called a core is a family-15h module."""
    virtual: bool = False
    """True: a virtual machine, which may hide which of its CPUs are threads of one core."""

    @property
    def cores(self) -> list[list[Cpu]]:
        """The CPUs by core; cores that share most lie side by side, fast ones first within a NUMA node."""
        near = sorted(
            self.cpus, key=lambda cpu: (cpu.node, cpu.speed, cpu.l3 or 0, cpu.l2, cpu.core, cpu.number)
        )
        return [list(cpus) for _, cpus in groupby(near, key=lambda cpu: cpu.core)]


def understand(model: str, rows: Sequence[Mapping[str, str]]) -> Topology:
    """Return the topology that rows of ``ironbench.host.topology`` tell of; rows of older bundles will do.

    Raises IronbenchError when they tell of no CPU, or of one in words that are no number.
    """
    try:
        online = {int(row["cpu"]) for row in rows}
        speeds = _speeds(rows)
        cpus = [_cpu(row, online, speed) for row, speed in zip(rows, speeds, strict=True)]
    except (KeyError, ValueError) as error:
        raise IronbenchError(f"the topology is not one that ironbench recorded: {error}.") from error
    if not cpus:
        raise IronbenchError("the topology has no CPU: record it with `ironbench host describe`.")
    return Topology(
        model=model,
        cpus=sorted(cpus, key=lambda cpu: cpu.number),
        modules=any(_in_module(row) for row in rows),
        virtual=any(row.get("hypervisor") for row in rows),
    )


def cpu_text(numbers: Iterable[int]) -> str:
    """Return a kernel CPU list: [0, 1, 2, 5] -> "0-2,5"."""
    ordered = sorted(set(numbers))
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(ordered), lambda item: item[1] - item[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _cpu(row: Mapping[str, str], online: set[int], speed: int) -> Cpu:
    number = int(row["cpu"])
    siblings = _sharers(row, "thread_siblings", online) or {number}
    l2 = _sharers(row, "l2", online)
    if _in_module(row):
        siblings |= l2 or {number & ~1, number | 1} & online
    l3 = _sharers(row, "l3", online)
    return Cpu(
        number=number,
        core=min(siblings),
        l2=min(l2 | siblings),
        l3=min(l3) if l3 else None,
        node=int(row.get("node") or row.get("package_id") or 0),
        speed=speed,
    )


def _in_module(row: Mapping[str, str]) -> bool:
    return (row.get("vendor"), row.get("family")) == MODULES


def _sharers(row: Mapping[str, str], key: str, online: set[int]) -> set[int]:
    """Return the online CPUs of a list in a row; none where the kernel does not tell."""
    return set(parse_cpu_list(row.get(key, ""))) & online


def _speeds(rows: Sequence[Mapping[str, str]]) -> list[int]:
    """Return each row's kind of core, by Intel's own word, else by capacity, else by the highest frequency."""
    if any(row.get("type") for row in rows):
        return [CPU_TYPES.index(row.get("type") or CPU_TYPES[0]) for row in rows]
    for key in ("capacity", "max_khz"):
        values = [int(row.get(key) or 0) for row in rows]
        if all(values) and len(set(values)) > 1:
            break
    else:
        return [0] * len(rows)
    fastest: list[int] = []  # of each kind
    for value in sorted(set(values), reverse=True):
        if not fastest or value < SAME_SPEED * fastest[-1]:
            fastest.append(value)
    return [sum(value <= top for top in fastest) - 1 for value in values]
