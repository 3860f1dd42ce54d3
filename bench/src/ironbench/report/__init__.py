"""The report of a bundle, recomputed from the bundle alone: the same bundle gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ironbench import bundle as bundles
from ironbench.files import encode_record, write_atomic
from ironbench.flame.files import DIRECTORY as FLAMES
from ironbench.ingest import merge_distributions, merge_quantiles, read_cores
from ironbench.query_plan.summary import summarise
from ironbench.quietness import quiet_notes
from ironbench.records import Finding
from ironbench.report import terminal
from ironbench.report.document import make_document
from ironbench.report.exports import benchmarks_txt, runs_csv, runs_parquet
from ironbench.report.flames import read_flames
from ironbench.report.model import first_rows
from ironbench.report.svg import svg
from ironbench.report.words import markdown, markdown_cell
from ironbench.scorecard import make_results
from ironbench.within import make_curves, make_strata, make_within

if TYPE_CHECKING:
    from pathlib import Path

    from ironbench.records import Results
    from ironbench.report.document import Document

__all__ = ["compute", "render", "write_report"]

PARQUET = "runs.parquet"
HTML_ROWS = 500
"""Of a table: ten plans of 50 runs, and some MB of text beyond."""
MARKDOWN_ROWS = 60
"""A pull request's comment has at most 65,536 characters."""


def compute(bundle: Path) -> Results:
    """Compute the results of a bundle, finished or not; what is damaged in it is named and left out."""
    contents = bundles.read_contents(bundle)
    distributions, unread = bundles.read_distributions(bundle, contents.runs)
    claims, published, unusable = bundles.read_unchanged_claims(bundle, contents)
    query_plans, unplanned = bundles.read_query_plans(bundle)
    flames, unseen = read_flames(bundle)
    results = make_results(
        contents.manifest,
        contents.plan,
        [run for run in contents.runs if run.run.key in distributions],
        distributions,
        contents.environment,
        merge=merge_distributions,
        rendered_by=bundles.version(),
        claims=claims,
        published=published,
        query_plans=[summarise(record, claims) for record in query_plans],
        flame_graphs=flames.summary() if flames else None,
        lost=contents.lost,
        attempts=contents.attempts,
    )
    damaged = [
        Finding(kind=damage.kind, detail=f"{damage.detail}.")
        for damage in (*contents.damaged, *unread, *unusable, *unplanned, *unseen)
    ]
    counting = {run.key for run in results.runs if run.counted}
    counted = [run for run in contents.runs if run.run.key in counting]
    return msgspec.structs.replace(
        results,
        damaged=damaged,
        quiet=list(quiet_notes(contents.runs, contents.environment)),
        lost={f"{one.run.key} ({one.number})": one.instrument_faults for one in contents.lost},
        curves=make_curves(contents.plan, counted, distributions, merge_quantiles),
        within=make_within(
            contents.plan,
            counted,
            lambda run: read_cores(bundles.run_directory(bundle, run.run) / "raw"),
        ),
        strata=make_strata(contents.plan, counted),
    )


def write_report(bundle: Path) -> tuple[Results, str]:
    """Write results.json, the reports and the exports; return the results and the terminal's report."""
    results = compute(bundle)
    flames, _ = read_flames(bundle)
    for name, content in (flames.files() if flames else {}).items():
        write_atomic(bundle / FLAMES / name, content)
    document = make_document(results)
    for name, content in {
        "report.md": render(document, "report.md.j2", MARKDOWN_ROWS).encode(),
        "report.html": render(document, "report.html.j2", HTML_ROWS).encode(),
        "runs.csv": runs_csv(results).encode(),
        "benchmarks.txt": benchmarks_txt(results).encode(),
    }.items():
        write_atomic(bundle / name, content)
    text = terminal.render(document)
    parquet = runs_parquet(results)
    if parquet is None:
        (bundle / PARQUET).unlink(missing_ok=True)
        text += f"\nNo {PARQUET}: it needs pyarrow, which `pip install 'ironbench[parquet]'` brings.\n"
    else:
        write_atomic(bundle / PARQUET, parquet)
    write_atomic(bundle / bundles.RESULTS, encode_record(results))  # last: it says that all of them are there
    return results, text


def render(document: Document, template: str, row_limit: int) -> str:
    """Render a document; tables get at most ``row_limit`` rows, and say where the rest is."""
    environment = Environment(
        loader=PackageLoader("ironbench.report"),
        autoescape=select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(prose=markdown, table_cell=markdown_cell)
    environment.globals.update(first_rows=first_rows, svg=svg, row_limit=row_limit)
    return environment.get_template(template).render(document=document)
