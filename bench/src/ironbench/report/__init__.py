"""The report of a bundle, recomputed from the bundle alone: the same bundle gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ironbench import bundle as bundles
from ironbench.files import encode_record, write_atomic
from ironbench.ingest import merge_distributions, read_distribution
from ironbench.report import terminal
from ironbench.report.document import make_document
from ironbench.scorecard import make_results

if TYPE_CHECKING:
    from pathlib import Path

    from ironbench.records import Results
    from ironbench.report.document import Document

__all__ = ["compute", "write_report"]


def compute(bundle: Path) -> Results:
    """Compute the results of a bundle, finished or not."""
    plan = bundles.read_plan(bundle)
    runs = bundles.read_runs(bundle)
    return make_results(
        bundles.read_manifest(bundle),
        plan,
        runs,
        {run.run.key: read_distribution(bundles.run_directory(bundle, run.run) / "raw") for run in runs},
        bundles.read_environment(bundle),
        merge=merge_distributions,
        rendered_by=bundles.version(),
    )


def write_report(bundle: Path) -> tuple[Results, str]:
    """Write results.json, report.md and report.html; return the results and the terminal's report."""
    results = compute(bundle)
    document = make_document(results)
    write_atomic(bundle / "results.json", encode_record(results))
    for name in ("report.md", "report.html"):
        write_atomic(bundle / name, _render(document, f"{name}.j2").encode())
    return results, terminal.render(document)


def _render(document: Document, template: str) -> str:
    environment = Environment(
        loader=PackageLoader("ironbench.report"),
        autoescape=select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters["table_cell"] = lambda text: text.replace("\\", "\\\\").replace("|", "\\|")
    return environment.get_template(template).render(document=document)
