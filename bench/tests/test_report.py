"""The three written reports of a bundle and the terminal's one."""

import re

import msgspec
import pytest
from ironbench import bundle as bundles
from ironbench.records import Results
from ironbench.report import write_report
from ironbench.report.plot import dot_plot

from .made import PACKED, VARIANTS, due, new_bundle, plan, seal_next

FILES = ("results.json", "report.md", "report.html")


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
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\(|\bsrc=|\bhref=", html)


def test_html_escapes_what_hosts_tell(reported):
    html = reported[1]["report.html"]
    assert "a &lt;b&gt; &amp; c|d" in html
    assert "<b>" not in html
    assert "a <b> & c\\|d" in reported[1]["report.md"]


def test_every_session_is_a_dot(reported):
    html = reported[1]["report.html"]
    assert html.count('<circle class="dot"') == 9
    assert html.count('<circle class="left-out"') == 3


@pytest.mark.parametrize("name", ["report.md", "report.html", "terminal"])
def test_what_every_report_says(reported, name):
    text = reported[1][name]
    for sentence in (
        "No verdict yet: the protocol quick (3 blocks)",
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
    assert "Unfinished" not in text


def test_figures_in_the_terminal(reported):
    (row,) = re.findall(r"CPU per request: app, CPU-ms +(.+)", reported[1]["terminal"])
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
    assert "Unfinished: 0 of 18 runs are sealed." in write_report(bundle)[1]
    seal_next(bundle, tmp_path)
    assert "Unfinished: 1 of 18 runs are sealed." in write_report(bundle)[1]
    assert "Unfinished: 1 of 18" in (bundle / "report.md").read_text()


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


def test_plot_stays_inside_its_frame(reported):
    made = msgspec.json.decode(reported[1]["results.json"], type=Results)
    same = [msgspec.structs.replace(run, app_cpu_ms=5.0) for run in made.runs]
    for runs in (made.runs, same):
        plot = dot_plot(VARIANTS, runs)
        assert plot
        assert len(plot.dots) == 12
        assert all(plot.left <= dot.x <= plot.right and 0 < dot.y < plot.axis_y for dot in plot.dots)
        assert (plot.ticks[0].x, plot.ticks[-1].x) == (plot.left, plot.right)
    assert dot_plot(VARIANTS, []) is None
