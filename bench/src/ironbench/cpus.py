"""Kernel CPU lists, as in ``0-1,4``, and which CPUs of a host they give to the bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ironbench.records import Host


MOST_CPUS = 8192
"""CONFIG_NR_CPUS is nowhere above it."""


def parse_cpu_list(text: str) -> list[int]:
    """Return the CPUs of a kernel CPU list, ascending; an empty list gives none.

    Raises ValueError when the text is not such a list.
    """
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if int(last or first) >= MOST_CPUS:
            raise ValueError(f"a kernel has at most {MOST_CPUS} CPUs")
        cpus.update(range(int(first), int(last or first) + 1))
    return sorted(cpus)


def bench_cpus(host: Host) -> set[int]:
    """CPUs of the host that a service or the load generator is laid out on."""
    lists = {
        "app": host.layout.app,
        "database": host.layout.database,
        "cache": host.layout.cache,
        "load_generators": host.layout.load_generator,
    }
    return {cpu for group in host.groups if group in lists for cpu in parse_cpu_list(lists[group])}
