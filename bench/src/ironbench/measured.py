"""What was measured: facts of a session that every session of a plan must agree on, and what differs between two.

A fact is a short value, or the SHA-256 of settings that are kept beside it. Facts of one variant carry its name and
are compared with that variant's sessions alone; all others are compared with every session of the plan.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ironbench.records import Measured, PlannedRun

    Facts = Mapping[str, Mapping[str, str]]
    """By host and name."""

FILE = "measured.json"
"""Among a host's raw outputs of a session."""
NOT_TOLD = "not told"
MOST_NAMED = 4
"""Settings that a sentence names; beyond, it counts them."""
_OF_VARIANT = "variant "
_DIGEST = 64


HOST_FACTS = (
    "boost",
    "core layout",
    "cpu model",
    "governors",
    "kernel",
    "kernel options",
    "memory",
    "os",
    "topology",
)
"""What a host's environment tells too."""


class Session(Protocol):
    """A sealed session: a run or a recording."""

    @property
    def run(self) -> PlannedRun: ...

    @property
    def measured(self) -> dict[str, dict[str, str]]: ...


S = TypeVar("S", bound=Session)


class Change(NamedTuple, Generic[S]):
    """A fact that is not as it was."""

    host: str
    fact: str
    was: str
    now: str
    since: S
    """A session that has the fact as it was."""


def variant_fact(variant: str) -> str:
    """Name the fact that is of one variant."""
    return f"{_OF_VARIANT}{variant}"


def is_of_variant(fact: str) -> bool:
    """Whether sessions of other variants have another one, or none."""
    return fact.startswith(_OF_VARIANT)


def digest(settings: Mapping[str, str]) -> str:
    """SHA-256 of settings, whatever their order."""
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()


def host_settings(told: Mapping) -> dict[str, dict[str, str]]:
    """Return the facts of a host that stay as they are when it boots, by the names that HostFacts has.

    ``told`` may lack some: a bundle's environment may be of an earlier ironbench, or imported.
    """
    found: dict[str, dict[str, str]] = {}
    if "topology" in told:
        # The highest clock is left out: some drivers change it with the governor.
        rows = [{key: value for key, value in row.items() if key != "max_khz"} for row in told["topology"]]
        found["topology"] = {
            f"CPU {row.get('cpu', number)}": " ".join(f"{key}={value}" for key, value in sorted(row.items()))
            for number, row in enumerate(rows)
        }
    if "governors" in told:
        found["governors"] = {f"CPU {cpu}": governor for cpu, governor in told["governors"].items()}
    if "kernel_config" in told:
        found["kernel options"] = dict(told["kernel_config"])
    return found


def host_values(told: Mapping) -> dict[str, str]:
    """Return the short facts of a host, from the same."""
    found = {
        name: str(told[key])
        for name, key in (("cpu model", "cpu_model"), ("kernel", "kernel"), ("os", "os"), ("boost", "boost"))
        if told.get(key) is not None
    }
    if told.get("memory_mib"):
        # What the kernel keeps for itself differs from boot to boot by some MiB.
        found["memory"] = f"{told['memory_mib'] / 1024:.0f} GiB"
    return found


def of_environment(told: Mapping) -> dict[str, str]:
    """Return the facts that an environment file has in common with sessions."""
    return host_values(told) | {name: digest(one) for name, one in host_settings(told).items()}


def facts_of(measured: Mapping[str, Measured]) -> dict[str, dict[str, str]]:
    """Return what a run keeps of its hosts' ``measured.json``."""
    return {host: dict(sorted(one.facts.items())) for host, one in measured.items()}


def changes(before: Sequence[S], facts: Facts) -> list[Change[S]]:
    """Return the facts that are not those of the sessions before, which agree with each other."""
    if not before:
        return []
    first = before[0]
    found = []
    for host in dict.fromkeys((*first.measured, *facts)):
        was, now = first.measured.get(host, {}), facts.get(host, {})
        for fact in dict.fromkeys((*was, *now)):
            if is_of_variant(fact):
                continue
            if was.get(fact) != now.get(fact):
                found.append(Change(host, fact, was.get(fact, NOT_TOLD), now.get(fact, NOT_TOLD), first))
        found += _of_variant(before, host, now)
    return found


def _of_variant(before: Sequence[S], host: str, now: Mapping[str, str]) -> Iterable[Change[S]]:
    for fact, value in now.items():
        if not is_of_variant(fact):
            continue
        known = next((run for run in before if fact in run.measured.get(host, {})), None)
        if known is not None and known.measured[host][fact] != value:
            yield Change(host, fact, known.measured[host][fact], value, known)


def agree(runs: Sequence[S]) -> tuple[list[S], list[tuple[S, list[Change[S]]]]]:
    """Split sessions, in the order of the plan, into those that measured what the first one did, and the others."""
    kept: list[S] = []
    others = []
    for run in runs:
        found = changes(kept, run.measured)
        if found:
            others.append((run, found))
        else:
            kept.append(run)
    return kept, others


def in_words(
    change: Change, was: Mapping[str, str] | None = None, now: Mapping[str, str] | None = None
) -> str:
    """Say what changed, as ``on box, postgresql settings: shared_buffers was 16384 and is 32768``.

    ``was`` and ``now`` are the settings that the two digests are of, where they are known.
    """
    where = f"on {change.host}, {change.fact}"
    if was is None or now is None or was == now:
        short = [one[:12] if len(one) == _DIGEST else one for one in (change.was, change.now)]
        return f"{where}: it was {short[0]} and is {short[1]}"
    names = [name for name in dict.fromkeys((*was, *now)) if was.get(name) != now.get(name)]
    told = [
        f"{name} was {was.get(name, 'not there')} and is {now.get(name, 'not there')}"
        for name in names[:MOST_NAMED]
    ]
    more = len(names) - len(told)
    return f"{where}: {', '.join(told)}{f', and {more} more' if more else ''}"


def sentence(
    found: Sequence[Change],
    measured: Mapping[str, Measured] | None = None,
    before: Mapping[str, Measured] | None = None,
) -> str:
    """Say all that changed, as half a sentence; the measured.json of both sessions tell what digests are of."""

    def settings(one: Mapping[str, Measured] | None, change: Change) -> Mapping[str, str] | None:
        host = (one or {}).get(change.host)
        return None if host is None else host.settings.get(change.fact)

    if all(change.was == NOT_TOLD for change in found):
        return "the sealed runs do not tell what they measured, and this one does (an earlier ironbench sealed them)"
    said = [in_words(one, settings(before, one), settings(measured, one)) for one in found[:MOST_NAMED]]
    more = len(found) - len(said)
    return "; ".join(said) + (f"; and {more} more facts" if more else "")
