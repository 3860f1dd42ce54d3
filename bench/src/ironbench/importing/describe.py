"""What a person says about a directory of published logs: a small YAML file."""

from __future__ import annotations

from collections import Counter
from datetime import datetime  # noqa: TC003 - msgspec resolves the fields' types at run time
from typing import TYPE_CHECKING, Literal

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import check_name
from ironbench.importing.files import parse_window, read_bytes
from ironbench.judge import WRK2
from ironbench.records import SCHEMA, CoreLayout, Experiment, PlannedRun, Protocol, Record, Study
from ironbench.study import check_study
from ironbench.yaml_files import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class DescribedHost(Record, frozen=True, kw_only=True):
    """The host as far as it is known; ``facts`` are shown as they stand."""

    name: str
    layout: CoreLayout
    facts: dict[str, str | int | float] = msgspec.field(default_factory=dict)


class DescribedRun(Record, frozen=True, kw_only=True):
    """One run of wrk2 and what was recorded beside it; files relative to the directory of logs."""

    experiment: str
    variant: str
    block: int = 1
    """The series, where there are several of the same variant."""
    run: int | Literal["sar"]
    """Number of a measured run in its session, or the sar run, whose latency does not count."""
    log: str
    """wrk2's output, made with ``--latency``."""
    sar: list[str] = msgspec.field(default_factory=list)
    """Text reports, sadf's JSON or a binary file; exactly one of them has the CPUs."""
    window: str | None = None
    """Samples of sar that lie in the load window, as ``2-31``; needed where ``sar`` is given."""
    started: datetime | None = None
    """With its time zone."""

    @property
    def number(self) -> int:
        """As in PlannedRun."""
        return 0 if self.run == "sar" else self.run


class Description(Record, frozen=True, kw_only=True):
    """Which log is which, and where they come from."""

    schema: int
    study: str
    title: str
    source: str
    """Where the logs were published: a URL."""
    revision: str
    """Which state of it: a commit, a tag, a branch and its date."""
    licence: str
    protocol: str
    baseline: str = "baseline"
    warmup_s: float
    window_s: float
    timeout_s: float = 2.0
    """wrk2's ``--timeout``; its default."""
    host: DescribedHost
    experiments: dict[str, Experiment]
    runs: list[DescribedRun]

    def as_study(self) -> Study:
        """Return the study that these logs are of."""
        blocks = max((run.block for run in self.runs), default=1)
        protocol = Protocol(blocks=blocks, warmup_s=self.warmup_s, window_s=self.window_s)
        return Study(
            schema=SCHEMA,
            name=self.study,
            title=self.title,
            source=self.source,
            baseline=self.baseline,
            protocols={self.protocol: protocol},
            experiments=self.experiments,
        )

    def planned(self) -> list[PlannedRun]:
        """Return the runs in the order of the description."""
        return [
            PlannedRun(
                position=position,
                experiment=run.experiment,
                block=run.block,
                variant=run.variant,
                number=run.number,
            )
            for position, run in enumerate(self.runs, 1)
        ]


def read_description(path: Path) -> Description:
    """Read and check a description.

    Raises IronbenchError when it is none, or contradicts itself.
    """
    described = decode(read_bytes(path), Description, path, "does not describe logs")
    if described.schema != SCHEMA:
        raise IronbenchError(
            f"{path} has schema {described.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    check_study(described.as_study(), str(path))
    check_name(described.host.name)
    for number, run in enumerate(described.runs, 1):
        complaint = next(iter(_complaints(described, run)), None)
        if complaint:
            raise IronbenchError(f"{path}: run {number} of the list, {run.log}, {complaint}.")
    keys = Counter(run.key for run in described.planned())
    twice = ", ".join(key for key, times in keys.items() if times > 1)
    if twice or not keys:
        raise IronbenchError(
            f"{path} describes {twice} more than once; number the runs of a series."
            if twice
            else f"{path} describes no run."
        )
    return described


def _complaints(described: Description, run: DescribedRun) -> Iterator[str]:
    experiment = described.experiments.get(run.experiment)
    if experiment is None:
        yield f"is of the experiment {run.experiment!r}, and there are {', '.join(described.experiments)}"
        return
    if run.variant not in experiment.variants:
        yield f"is of the variant {run.variant!r}, and {run.experiment} has {', '.join(experiment.variants)}"
    if experiment.load.backend != WRK2:
        yield f"is wrk2's; the load of {run.experiment} needs `backend: wrk2`"
    if run.block < 1 or (run.run != "sar" and run.run < 1):
        yield "needs a block and a run of 1 or more, or `run: sar`"
    if run.run == "sar" and not run.sar:
        yield "is a sar run and gives no files of sar"
    if bool(run.sar) != (run.window is not None):
        yield "needs sar files and a window (the samples under load, as 2-31) together"
    if run.window is not None:
        parse_window(run.window)
    if run.started is not None and run.started.tzinfo is None:
        yield "needs a time zone in `started`, as 2026-01-31T12:00:00+01:00"
