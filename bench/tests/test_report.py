"""The three written reports of a bundle and the terminal's one."""

import re

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.records import Finding, PublishedSeries, Results
from ironbench.report import HTML_ROWS, MARKDOWN_ROWS, render, write_report
from ironbench.report.document import make_document
from ironbench.report.model import Point
from ironbench.report.terminal import ROWS as TERMINAL_ROWS
from ironbench.report.terminal import render as render_terminal

from .made import (
    PACKED,
    VARIANTS,
    background,
    due,
    experiment,
    new_bundle,
    plan,
    replace,
    seal_next,
    study,
)

FILES = ("results.json", "report.md", "report.html", "runs.csv", "benchmarks.txt")


def fill(bundle, tmp_path, **changes):
    shares = dict(zip(VARIANTS, (0.4, 0.3, 0.25), strict=True))
    while run := due(bundle):
        seal_next(bundle, tmp_path, app_share=shares[run.variant], **changes)
    return bundle


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Make a finished bundle; return it, its report's texts and the terminal's."""
    tmp_path = tmp_path_factory.mktemp("reported")
    bundle = new_bundle(tmp_path, plan(experiments=["signin"]))
    bundles.write_environment(bundle, "box", b'{"cpu": {"model": "a <b> & c|d"}, "packages": ["x 1", "y 2"]}')
    seal_next(bundle, tmp_path, steal=9.0)
    fill(bundle, tmp_path)
    terminal = write_report(bundle)[1]
    return bundle, {name: (bundle / name).read_text() for name in FILES} | {"terminal": terminal}


def test_same_bytes_every_time(reported):
    bundle, texts = reported
    again = write_report(bundle)[1]
    assert {name: (bundle / name).read_text() for name in FILES} | {"terminal": again} == texts


def test_html_stands_alone(reported):
    html = reported[1]["report.html"]
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(
        r"<(script|link|img|iframe|object|embed)\b|@import|url\(|\bsrc=|\bhref=\"(?!#)", html
    )
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    assert set(re.findall(r'\bhref="#([^"]+)"', html)) <= ids
    assert len(ids) == len(re.findall(r'\bid="', html))


def test_html_escapes_what_hosts_tell(reported):
    html = reported[1]["report.html"]
    assert "a &lt;b&gt; &amp; c|d" in html
    assert "<b>" not in html


def test_markdown_escapes_what_hosts_tell(reported):
    results = msgspec.json.decode(reported[1]["results.json"], type=Results)
    fault = Finding(kind="steal", detail="a|b\\c")
    results = replace(
        results, runs=[replace(results.runs[0], instrument_faults=[fault])], curves=[], within=[]
    )
    assert "| a\\|b\\\\c |" in render(make_document(results), "report.md.j2", MARKDOWN_ROWS)


@pytest.mark.parametrize("name", ["report.md", "report.html", "terminal"])
def test_what_every_report_says(reported, name):
    text = reported[1][name]
    for sentence in (
        "Too few runs for a verdict: the protocol quick has 3 blocks and 6 are needed",
        "3 of 12 sealed runs are left out of the figures, 1 of them for an instrument fault",
        "P99, ms",
        "n&lt;10: hidden" if name == "report.html" else "n<10: hidden",
        "CPU 0 %usr, whole sar record, %",
        "CPU per request: sum, CPU-ms",
        "signin.01.",
        "the hypervisor took 9.0 %",
        "ironbench plan --study studies/made --protocol quick --experiment signin",
        "--seed 7 --retries 1",
        "not from a git working tree",
        "points",
    ):
        assert sentence in text, sentence
    assert "Packed layout" not in text
    assert "a verdict needs all of them" not in text


def test_figures_in_the_terminal(reported):
    (row,) = re.findall(r"(?m)^ *CPU per request: app, CPU-ms +(.+)", reported[1]["terminal"])
    app = [float(figure) for figure in re.findall(r"[\d.]+(?= \(|  |$)", row)[:3]]
    per_request = [2 * share * 8_200 / 24 for share in (0.4, 0.3, 0.25)]
    assert app == pytest.approx(per_request, rel=0.02)
    assert "-37.5 %" in row


def test_results_are_a_typed_record(reported):
    made = msgspec.json.decode(reported[1]["results.json"], type=Results)
    assert (made.sealed, made.total, made.seed) == (12, 12, 7)
    assert list(made.environment) == ["box"]


def test_unfinished_bundle_says_so(tmp_path):
    bundle = new_bundle(tmp_path)
    assert "0 of 18 runs are sealed, and a verdict needs all of them" in write_report(bundle)[1]
    seal_next(bundle, tmp_path)
    assert "1 of 18 runs are sealed, and a verdict needs all of them" in write_report(bundle)[1]
    assert "1 of 18 runs are sealed, and a verdict needs all of them" in (bundle / "report.md").read_text()


def test_packed_layout_gives_no_verdict_on_latency(tmp_path):
    bundle = new_bundle(tmp_path, plan("short", experiments=["signin"]))
    seal_next(bundle, tmp_path, layout=PACKED)
    text = write_report(bundle)[1]
    assert "Packed layout: no verdict on latency. On box services share CPUs" in text
    for name in ("report.md", "report.html"):
        assert "Packed layout: no verdict on latency" in (bundle / name).read_text()


def test_report_needs_the_bundle_alone(reported, tmp_path):
    bundle, texts = reported
    moved = tmp_path / "elsewhere"
    bundle.rename(moved)
    try:
        for name in FILES:
            (moved / name).unlink()
        write_report(moved)
        assert {name: (moved / name).read_text() for name in FILES} == {name: texts[name] for name in FILES}
    finally:
        moved.rename(bundle)


# --- a whole plan ------------------------------------------------------------------------------


def test_a_whole_plan_fits(full):
    bundle, results, _, _ = full
    assert len(results.runs) == 155
    assert (bundle / "report.html").stat().st_size < 2_000_000
    assert len((bundle / "report.md").read_text()) < 65_536


@pytest.mark.parametrize("name", ["report.md", "report.html", "terminal"])
def test_verdicts_come_first(full, name):
    bundle, results, _, terminal = full
    text = terminal if name == "terminal" else (bundle / name).read_text()
    text = re.sub(r"</?strong>|\*\*", "", text)
    counts = {word: sum(one.word == word for one in results.claims) for word in ("holds here", "undecided")}
    assert min(counts.values()) > 0
    places = [re.search(rf"\b{count} +\S {word}", text) for word, count in counts.items()]
    assert all(place is not None and place.start() < text.index("Protocol") for place in places)
    assert text.index("Protocol") < text.index("me-cpu") < text.rindex("signup: POST")


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_every_verdict_has_its_reason_and_effect(full, name):
    bundle, results, _, _ = full
    text = (bundle / name).read_text().replace("&#39;", "'")
    for verdict in results.claims:
        line = next(line for line in text.splitlines() if verdict.claim.says in line)
        assert verdict.claim.id in line
        assert f" {verdict.word}" in line
        assert verdict.reason in line
        if verdict.effect:
            low, high = (100 * (end - 1) for end in (verdict.effect.low, verdict.effect.high))
            assert f"({low:+.1f}..{high:+.1f})" in line


def test_what_html_has_more_of(full):
    html = (full[0] / "report.html").read_text()
    for sentence in (
        "Order of runs and drift",
        "the hypervisor took 3.1 % of CPU 1 (limit 2.0 %)",
        "2 requests had no answer after 10 s",
        "As landed: the kernel deals",
        "Made CPU at 3.5 GHz",
        "ansible-playbook -i INVENTORY site.yml playbooks/bench.yml",
        "packages.package-39",
    ):
        assert sentence in html, sentence
        assert (sentence in (full[0] / "report.md").read_text()) == (
            sentence.startswith(("the hyper", "2 requests", "ansible"))
        )


def test_strata_add_up_to_the_runs(full):
    _, results, document, _ = full
    (section,) = [one for one in document.sections if one.title.startswith("Placement")]
    assert section.table
    assert sum(int(row[4]) for row in section.table.rows) == sum(run.counted for run in results.runs)


def test_long_tables_are_cut_and_say_so(full):
    results = full[1]
    many = [replace(results.runs[0], position=n, key=f"signup.{n}.baseline") for n in range(1, 2001)]
    document = make_document(replace(results, runs=many, curves=[], within=[]))
    html = render(document, "report.html.j2", HTML_ROWS)
    assert f"The first {HTML_ROWS} of 2000 rows; all are in runs.csv." in html
    assert len(html) < 2_000_000
    text = render_terminal(document)
    assert f"The first {TERMINAL_ROWS} of 2000 rows; all are in runs.csv." in text
    assert len(text.splitlines()) < 500


def test_without_claims_there_are_no_tallies(reported):
    for name in ("report.md", "report.html", "terminal"):
        assert "This bundle carries no claims" in reported[1][name]
        assert "holds here" not in reported[1][name]


def published(**changes):
    made = PublishedSeries(
        test="signin",
        variant="final",
        date="2026-05-26",
        kernel="6.1",
        response_bytes=None,
        published_ms=520.0,
        runs_ms=[520.0, 610.0, 620.0],
        mean_ms=583.3,
        cv=0.094,
        run=1,
        equal_figures=5,
        is_mean=False,
    )
    return replace(made, **changes)


def test_published_series_say_which_run_they_are(full):
    series = [
        published(),
        published(variant="baseline", run=None, is_mean=True, published_ms=583.3),
        published(variant="beyond", run=None, published_ms=None, runs_ms=[7.0], mean_ms=7.0, cv=None),
    ]
    document = make_document(replace(full[1], published=series))
    (section,) = [one for one in document.sections if one.title.startswith("Published series")]
    assert section.table
    cells = [dict(zip(section.table.header, row, strict=True)) for row in section.table.rows]
    assert [row["It is"] for row in cells] == ["run 1 of 3", "the mean of all", "in no table"]
    assert [row["Published against it"] for row in cells] == ["-10.9 %", "+0.0 %", "-"]
    assert [row["CV"] for row in cells] == ["9.4 %", "9.4 %", "-"]
    assert {row["Verdict"] for row in cells} == {"too few runs"}
    assert section.paragraphs == [
        "Of 2 published means with raw logs, 1 are that of one run, 1 of all runs.",
        "3 of 3 series have fewer than 6 runs: too few runs for a verdict.",
    ]
    (chart,) = section.charts
    triangles = [mark for mark in chart.marks if isinstance(mark, Point) and mark.shape == "down"]
    circles = [mark for mark in chart.marks if isinstance(mark, Point) and mark.shape == "circle"]
    assert (len(triangles), len(circles)) == (2, 7)
    assert triangles[0].x == circles[0].x < triangles[1].x < circles[1].x
    for text in (render(document, "report.md.j2", MARKDOWN_ROWS), render_terminal(document)):
        assert "run 1 of 3" in text


def test_results_have_the_schema_that_is_printed(full, run):
    jsonschema = pytest.importorskip("jsonschema")
    code, out, _ = run("schema")
    schema = msgspec.json.decode(out)
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    results = msgspec.json.decode((full[0] / "results.json").read_bytes())
    assert list(validator.iter_errors(results)) == []
    for broken in (
        results | {"blocks": "ten"},
        results | {"surprise": 1},
        {name: value for name, value in results.items() if name != "runs"},
        results | {"claims": [results["claims"][0] | {"word": "maybe"}]},
    ):
        assert list(validator.iter_errors(broken))


def test_a_background_is_named_wherever_its_requests_are_counted(tmp_path):
    one = experiment(background=background())
    bundle = fill(new_bundle(tmp_path, plan("short", of=study(experiments={"mixed": one}))), tmp_path)
    terminal = write_report(bundle)[1]
    for text in (terminal, (bundle / "report.md").read_text(), (bundle / "report.html").read_text()):
        assert "POST /signup, 2 requests per second over 2 connections" in text
        assert "mixed: CPU per request is over the requests of both loads." in text
        assert "CPU per request of both loads: app" in text
        assert "Mean latency, background" in text
