"""What differs in the environments of bundles, fact by fact."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import msgspec
from msgspec import field

from ironbench.errors import IronbenchError
from ironbench.measured import HOST_FACTS, is_of_variant
from ironbench.records import CoreLayout, Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.records import Experiment, Plan, Results

UNKNOWN = "not told"

_SKIPPED = ("schema", "name", "layout", "services")
"""Of a host's facts: no facts, or told better by the runs and by which hosts stand for each other."""


class Side(Record, frozen=True, kw_only=True):
    """One of the compared bundles."""

    letter: str
    path: str
    results: Results
    plan: Plan
    sealed: frozenset[str] = frozenset()
    """What tells its sealed runs from all others, wherever the bundle lies."""
    settings: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """What the digests of ``Results.measured`` are of, by host and fact, where the bundle tells."""


class Difference(Record, frozen=True, kw_only=True):
    """A fact that is not the same in all bundles."""

    where: str
    """``bundle``, ``experiment NAME``, or the host's names."""
    fact: str
    values: list[str]
    """By bundle."""


def differences(sides: Sequence[Side]) -> list[Difference]:
    """Return all facts that differ: of the bundles, of their experiments, and of their hosts."""
    found = list(_differing("bundle", [_bundle_facts(side) for side in sides]))
    for name in _names([side.plan.experiments for side in sides]):
        experiments = [side.plan.experiments.get(name) for side in sides]
        known = [_asked(experiment) if experiment else {} for experiment in experiments]
        found += _differing(f"experiment {name}", known)
    for hosts in paired_hosts(sides):
        where = "host " + " / ".join(dict.fromkeys(host or UNKNOWN for host in hosts))
        facts = [host_facts(side, host) if host else {} for side, host in zip(sides, hosts, strict=True)]
        found += _differing(where, facts)
        found += _differing(where, _measured(sides, hosts))
    return found


def _measured(sides: Sequence[Side], hosts: Sequence[str | None]) -> list[dict[str, str]]:
    """Return the facts that sessions were measured with; of digests that differ, the settings, where all tell them."""
    known = [side.results.measured.get(host or "", {}) for side, host in zip(sides, hosts, strict=True)]
    if not all(known):
        return [{"what ran": "read back" if facts else UNKNOWN} for facts in known]
    found: list[dict[str, str]] = [{} for _ in sides]
    for fact in _names(known):
        if fact in HOST_FACTS or (is_of_variant(fact) and not all(fact in facts for facts in known)):
            continue
        told = [side.settings.get(host or "", {}).get(fact) for side, host in zip(sides, hosts, strict=True)]
        for number, facts in enumerate(known):
            if None not in told:
                found[number] |= {f"{fact}: {name}": value for name, value in (told[number] or {}).items()}
            elif fact in facts:
                found[number][fact] = facts[fact]
    return found


def refuse_same(sides: Sequence[Side]) -> None:
    """Raise IronbenchError where two bundles are one, or hold the same runs: it would be compared with itself."""
    for one, other in combinations(sides, 2):
        shared = len(one.sealed & other.sealed)
        if shared or one.results.manifest == other.results.manifest:
            what = f"share {shared} sealed runs" if shared else "are one bundle"
            raise IronbenchError(
                f"{one.path} and {other.path} {what}: a bundle is not compared with itself or its copy; give bundles that "
                "were measured apart."
            )


LAYOUT = "layout"
"""The core layout, as what is compared and not as what differs besides."""


def refusal(first: Side, other: Side, factor: str = "") -> str:
    """Say why absolute times of two bundles must not be compared; empty when they may be.

    ``factor`` is what the bundles are to differ in: LAYOUT, or nothing.
    """
    for here, there in paired_hosts([first, other]):
        if here is None or there is None:
            return f"{first.letter} and {other.letter} ran on different hosts that cannot be told to be alike"
        models = [
            side.results.environment.get(host, {}).get("cpu_model")
            for side, host in ((first, here), (other, there))
        ]
        if not all(models):
            return f"the CPU model of {first.letter} or {other.letter} is not known"
        if models[0] != models[1]:
            return f"{first.letter} ran on {models[0]} and {other.letter} on {models[1]}"
        layouts = [_layout(first, here), _layout(other, there)]
        if factor == LAYOUT and None not in layouts:
            continue
        if layouts[0] is None or layouts[0] != layouts[1]:
            return f"the core layouts of {first.letter} and {other.letter} differ"
    return ""


def other_question(name: str, first: Side, other: Side) -> list[str]:
    """Return which settings of an experiment two bundles do not share; none where it is the same question."""
    here, there = (_asked(side.plan.experiments[name]) for side in (first, other))
    return [key for key in dict.fromkeys((*here, *there)) if here.get(key) != there.get(key)]


def paired_hosts(sides: Sequence[Side]) -> list[list[str | None]]:
    """Return the hosts that stand for each other, a name or None by bundle.

    A bundle's only host stands for another's only one; else the same name does, else the same services.
    """
    known = [list(dict.fromkeys((*side.results.layout, *side.results.environment))) for side in sides]
    if all(len(hosts) == 1 for hosts in known):
        return [[hosts[0] for hosts in known]]
    if all(set(hosts) == set(known[0]) for hosts in known):
        return [[host] * len(sides) for host in known[0]]
    roles = [{_role(side, host): host for host in hosts} for side, hosts in zip(sides, known, strict=True)]
    if all(len(by_role) == len(hosts) for by_role, hosts in zip(roles, known, strict=True)):
        return [[by_role.get(role) for by_role in roles] for role in _names(roles)]
    names = dict.fromkeys(host for hosts in known for host in hosts)
    return [[host if host in hosts else None for hosts in known] for host in names]


def host_facts(side: Side, host: str) -> dict[str, str]:
    """Return what is known of a host as text, by fact."""
    told = {
        key: value for key, value in side.results.environment.get(host, {}).items() if key not in _SKIPPED
    }
    facts = dict(_flat("", told))
    layout = side.results.layout.get(host)
    if layout is not None:
        facts |= dict(_flat("layout", msgspec.to_builtins(layout)))
    return facts


def services_of(told: dict) -> list[str]:
    """Return which services a host has, by its facts; bundles of before ``services`` tell those that ran."""
    return told.get("services") or sorted(told.get("nofile", {}))


def _role(side: Side, host: str) -> str:
    """What a host's layout gives CPUs to is the same on every host, so its services tell it."""
    return " ".join(services_of(side.results.environment.get(host, {})))


def _layout(side: Side, host: str) -> CoreLayout | None:
    """Return a host's layout; its name is a label and no difference."""
    layout = side.results.layout.get(host)
    return None if layout is None else msgspec.structs.replace(layout, name="")


def _bundle_facts(side: Side) -> dict[str, str]:
    results = side.results
    manifest = results.manifest
    return {
        "study": manifest.study,
        "study digest": manifest.study_digest[:16],
        "protocol": manifest.protocol,
        "blocks": str(results.blocks),
        "warm-up, s": f"{results.warmup_s:g}",
        "window, s": f"{results.window_s:g}",
        "ironbench": manifest.ironbench_version,
        "commit": manifest.git.commit if manifest.git else UNKNOWN,
        "uncommitted changes": ("yes" if manifest.git.dirty else "no") if manifest.git else UNKNOWN,
        "imported from": manifest.imported.source if manifest.imported else "no: measured",
    }


def _asked(experiment: Experiment) -> dict[str, str]:
    """Return what an experiment asks, but for its title and the choice of variants."""
    return dict(_flat("", msgspec.to_builtins(msgspec.structs.replace(experiment, title="", variants=[]))))


def _differing(where: str, facts: Sequence[dict[str, str]]) -> Iterator[Difference]:
    for fact in _names(facts):
        values = [known.get(fact, UNKNOWN) for known in facts]
        if len(set(values)) > 1:
            yield Difference(where=where, fact=fact, values=values)


def _names(many: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(name for one in many for name in one))


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield (name, text); what is the same for every CPU is told once."""
    if isinstance(value, dict):
        if (
            value
            and all(str(key).isdigit() for key in value)
            and len({str(one) for one in value.values()}) == 1
        ):
            yield prefix, str(next(iter(value.values())))
            return
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for key in _names(value):
            yield f"{prefix}.{key}", " ".join(str(one.get(key, "-")) for one in value)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(str, value))
    elif value is not None:
        yield prefix, str(value)
