"""Whether hosts were as quiet in every run as they told when the plan began."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.records import QuietNow, Run


def quiet_notes(runs: Sequence[Run], environment: dict[str, dict]) -> Iterator[str]:
    """Yield a sentence for each host and way in which its runs differ from what it told, or from each other.

    Runs of an earlier ironbench do not tell.
    """
    for host, told in environment.items():
        seen = [run.quiet[host] for run in runs if host in run.quiet]
        quiet = sum(map(_in_force, seen))
        if told.get("quiet") and quiet < len(seen):
            yield (
                f"{host} was to be quiet, and was not in {len(seen) - quiet} of {len(seen)} runs: there nothing kept the "
                "rest of the host off the bench's CPUs."
            )
        elif quiet and not told.get("quiet"):
            yield (
                f"{host} was quiet in {quiet} of {len(seen)} runs, and was not when the plan began: other runs may have "
                "had the rest of the host on the bench's CPUs."
            )
        again = [now.again for now in seen if now.again]
        if again:
            times = "once" if len(again) == 1 else f"{len(again)} times"
            yield (
                f"{host} had stopped being quiet between runs and was made quiet again, {times}: "
                f"{'; '.join(dict.fromkeys(again))}."
            )


def _in_force(now: QuietNow) -> bool:
    return bool(now.invocation) and not now.undone
