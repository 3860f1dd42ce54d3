"""Query plans in the report: figures by setting, what the settings differ by, and the plans as PostgreSQL prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.metrics import PLAN_METRICS
from ironbench.query_plan.summary import scans_text
from ironbench.query_plan.table import QUERY
from ironbench.report.model import Section, Table
from ironbench.report.words import call_text, effect_text, number, sides_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import QueryPlanFigures, QueryPlanSummary, Results

STATES = (
    "cached: all pages in shared buffers, one session that has run the query before.",
    (
        "published-order: likewise, but a new session each time, which runs the settings one after the other in the study's "
        "order. The first one maps the pages into the session's memory and pays for it."
    ),
    (
        "cold: the server has just started, and the kernel has let go of the table's and the index's pages. The disk's own "
        "cache, and that of a machine around this one, cannot be emptied."
    ),
)


def query_plan_sections(results: Results) -> Iterator[Section]:
    """Make two sections a host: figures and effects, and the plans."""
    for summary in results.query_plans:
        yield from summary_sections(summary)


def summary_sections(summary: QueryPlanSummary) -> Iterator[Section]:
    """Make the sections of one host."""
    record = summary.record
    test = record.order.test
    own = f"Query plans on {record.host}"
    yield Section(
        title=f"{own}: {test.title}",
        paragraphs=[
            (
                f"{QUERY}: {test.selected} of {test.rows} rows, in {record.heap_pages} pages of heap and "
                f"{record.index_pages} of the partial index. In a throwaway cluster, loaded in {record.load_s:.0f} s, CPUs "
                f"{record.cpus or 'not confined'}; {record.postgresql}."
            )
        ],
        table=Table(
            header=[
                "Case",
                "Setting",
                "Plan",
                "Execution, ms (95 %)",
                "Planning, ms",
                "Hit",
                "Read",
                "Disk, MiB",
            ],
            rows=[_row(figures) for figures in summary.figures],
            words=3,
        ),
        notes=[
            (
                f"Medians; {test.executions} executions of each setting, in random order within a block, seed "
                f"{record.order.seed}. Hit and Read: pages in and not in shared buffers. Disk: what the kernel fetched from "
                "the device."
            ),
            *STATES,
        ],
    )
    rows = [
        [
            effect.comparison.experiment,
            sides_text(effect.comparison),
            PLAN_METRICS[effect.comparison.metric].title,
            effect_text(effect),
            call_text(effect),
        ]
        for effect in summary.effects
    ]
    yield Section(
        title=f"{own}: effects",
        table=Table(header=["Case", "Sides", "Metric", "Effect (95 % interval)", "Call"], rows=rows, words=5),
        notes=["The median over blocks of the ratio within a block, as a change against the other side."],
    )
    yield Section(title=f"{own}: plans", commands=list(_plans(summary)))


def _row(figures: QueryPlanFigures) -> list[str]:
    interval = (
        "" if figures.low is None or figures.high is None else f" ({figures.low:.3f}..{figures.high:.3f})"
    )
    return [
        figures.case,
        figures.setting,
        scans_text(figures),
        f"{figures.execution_ms:.3f}{interval}",
        number(figures.planning_ms),
        f"{figures.hit:.0f}",
        f"{figures.read:.0f}",
        "-" if figures.disk_bytes is None else f"{figures.disk_bytes / 2**20:.1f}",
    ]


def _plans(summary: QueryPlanSummary) -> Iterator[str]:
    for case in summary.record.cases:
        for setting, shown in case.plans.items():
            parameters = {**case.parameters, **summary.record.order.test.settings[setting]}
            yield f"{case.configuration}, {setting}: {', '.join(f'{k} {v}' for k, v in parameters.items())}"
            yield from (f"  {line}" for line in shown.text)
            yield ""
