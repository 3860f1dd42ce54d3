"""The flame graphs of a bundle, read for its report: a summary, and files of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ironbench.bundle import Damage
from ironbench.errors import IronbenchError
from ironbench.files import encode_record
from ironbench.flame.files import DIRECTORY, read_attempts, read_plan, read_recordings, read_stacks
from ironbench.flame.stacks import merge, speedscope
from ironbench.flame.summary import IN_FILE, MODES, counted, drawings, summarise
from ironbench.report.flame_graphs import file_svg

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from ironbench.flame.stacks import Stack
    from ironbench.flame.summary import Key
    from ironbench.records import Attempt, FlamePlan, FlameSummary, Recorded


@dataclass(frozen=True, slots=True)
class Flames:
    """What a bundle has of flame graphs."""

    plan: FlamePlan
    recordings: list[Recorded]
    attempts: list[Attempt]
    whole: dict[Key, list[Counter[Stack]]]
    """All stacks of each recording, by graph, variant and mode."""

    @property
    def seen(self) -> dict[Key, list[Counter[Stack]]]:
        """Those that count."""
        return {
            key: [counted(self.plan, key[2], one) for one in several] for key, several in self.whole.items()
        }

    def summary(self) -> FlameSummary:
        return summarise(self.plan, self.recordings, self.seen, self.attempts)

    def files(self) -> dict[str, bytes]:
        """Return the drawings as SVG, and the stacks as speedscope reads them, by name."""
        summary = self.summary()
        found = {
            f"{one.name}.svg": file_svg(one, summary)
            for one in drawings(self.plan, self.recordings, self.seen, IN_FILE)
        }
        for key, several in self.whole.items():
            name = ".".join(key)
            found[f"{name}.speedscope.json"] = encode_record(speedscope(merge(several), name))
        return found


def read_flames(bundle: Path) -> tuple[Flames | None, list[Damage]]:
    """Read them; None where there are none. What is damaged is named and left out."""
    try:
        plan = read_plan(bundle)
    except IronbenchError as error:
        detail = str(error).removesuffix(".").replace(f"{bundle}/", "")
        return None, [Damage(kind="unreadable", detail=detail, move=DIRECTORY)]
    if plan is None:
        return None, []
    recordings, damaged = read_recordings(bundle, plan)
    attempts, mislaid = read_attempts(bundle, plan)
    damaged += mislaid
    whole: dict[Key, list[Counter[Stack]]] = {}
    for name, graph in plan.spec.graphs.items():
        for variant in graph.variants:
            here = [one for one in recordings if (one.run.experiment, one.run.variant) == (name, variant)]
            for mode in MODES:
                found = []
                for one in here:
                    try:
                        found.append(read_stacks(bundle, one, mode))
                    except IronbenchError as error:
                        detail = str(error).removesuffix(".")
                        move = f"{DIRECTORY}/{name}/{one.run.block:02d}/{variant}"
                        damaged.append(Damage(kind="unreadable", detail=detail, move=move))
                if any(found):
                    whole[name, variant, mode] = [one for one in found if one]
    return Flames(plan, recordings, attempts, whole), damaged
