"""Geometry of the report's charts, and the SVG that is made of it."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from ironbench.records import CoreSeries, Curve, Finding, Latency, RunFigures, Second, WithinRun
from ironbench.report.dots import MOST, dot_chart
from ironbench.report.drift import FEWEST, drift_chart, drift_table
from ironbench.report.forest import by_metric, forest
from ironbench.report.model import Box, Line, Point, Trace, Words
from ironbench.report.scale import linear, log_ticks, logarithmic, ticks
from ironbench.report.seconds import COLUMNS, second_charts
from ironbench.report.svg import OUTLINES, svg
from ironbench.report.tail import HEIGHT, tail_chart

from .test_verdict import spread_around

NO_LATENCY = Latency(count=0, mean=0, stdev=0, p50=0, p75=0, p90=0, p99=0, p999=0, max=0)


def figures(position, cpu=10.0, *, variant="baseline", counted=True, again=False):
    return RunFigures(
        position=position,
        key=f"signin.{position:02d}.{variant}",
        experiment="signin",
        block=position,
        variant=variant,
        attempt=1,
        number=1,
        started="",
        counted=counted,
        why_not="" if counted else "instrument fault: steal",
        offered_rps=3,
        achieved_rps=3,
        latency=NO_LATENCY,
        app_cpu_ms=cpu,
        sum_cpu_ms=cpu,
        mhz=None,
        instrument_faults=[] if counted else [Finding(kind="steal", detail="9 %")],
        outcomes=[],
        again=again,
        figures={"app_cpu_ms": cpu},
    )


def marks(chart, kind, css=""):
    return [mark for mark in chart.marks if isinstance(mark, kind) and css in [*mark.css.split(), ""]]


def places(mark):
    if isinstance(mark, Line):
        return [(mark.x1, mark.y1), (mark.x2, mark.y2)]
    if isinstance(mark, Trace):
        return mark.points
    if isinstance(mark, Box):
        return [(mark.x, mark.y), (mark.x + mark.width, mark.y + mark.height)]
    return [(mark.x, mark.y)]


# --- all charts of a whole plan ----------------------------------------------------------------


def test_a_whole_plan_has_every_chart(full):
    document = full[2]
    titles = [chart.title for section in document.sections for chart in section.charts]
    for experiment in ("signup", "signin", "me"):
        for what in ("effects", "CPU per request: app, run by run", "latency distribution"):
            assert f"{experiment}: {what}" in titles
        assert f"{experiment}: latency within a run" in titles
        assert f"{experiment}: CPUs within a run" in titles
    assert {"A variant against itself", "Order of runs and drift"} <= set(titles)
    assert len(titles) == len(set(titles)) == 17


def test_every_mark_lies_in_its_frame(full):
    for section in full[2].sections:
        for chart in section.charts:
            for mark in chart.marks:
                for x, y in places(mark):
                    assert 0 <= x <= chart.width + 0.1, (chart.title, mark)
                    assert 0 <= y <= chart.height + 0.1, (chart.title, mark)
                    assert (round(x, 1), round(y, 1)) == pytest.approx((x, y), abs=1e-9)


def test_every_chart_has_its_figures_as_a_table(full):
    for section in full[2].sections:
        for chart in section.charts:
            assert chart.table.rows
            assert {len(row) for row in chart.table.rows} == {len(chart.table.header)}


def test_every_svg_is_well_formed_and_told_in_words(full):
    for number, chart in enumerate(chart for section in full[2].sections for chart in section.charts):
        root = ET.fromstring(svg(chart, f"chart-{number}"))
        assert root.get("role") == "img"
        told = [child for child in root if child.tag in ("title", "desc")]
        assert root.get("aria-labelledby") == " ".join(child.get("id", "") for child in told)
        assert [child.text for child in told] == [chart.title, chart.description]
        assert len(root) == 2 + len(chart.marks)


# --- scales ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.93, 0.94), (5, 5), (0, 0), (-3, 170), (1e-7, 3e5)])
def test_ticks_enclose_what_is_drawn(low, high):
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 9


@pytest.mark.parametrize(
    ("low", "high"), [(1, 1), (0.9, 1.1), (3, 9000), (0.001, 40), (2, 5), (10, 100), (1, 1e9)]
)
def test_log_ticks_enclose_what_is_drawn(low, high):
    found = log_ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 12
    assert all(f"{tick:e}"[0] in "125" for tick in found)


def test_scales():
    assert [linear(10, 20, 100, 300)(figure) for figure in (10, 15, 20)] == [100, 200, 300]
    assert [logarithmic(1, 100, 0, 50)(figure) for figure in (1, 10, 100)] == [0, 25, 50]
    assert logarithmic(1, 100, 0, 50)(0) == 0  # nothing lies below the axis
    assert str(linear(0, 1, 0, -0.01)(1)) == "0.0"  # and not -0.0, which would be written


# --- effects -----------------------------------------------------------------------------------


def forest_of(*effects):
    chart = forest("Effects", by_metric(effects))
    assert chart is not None
    return chart


def test_forest_places_interval_value_and_margin():
    effect = spread_around(0.8, width=0.05, margin=0.03)
    chart = forest_of(effect)
    (point,) = marks(chart, Point)
    interval = max(marks(chart, Line, "interval"), key=lambda line: abs(line.x2 - line.x1))
    none = next(line for line in marks(chart, Line, "axis") if line.x1 == line.x2)
    (band,) = marks(chart, Box, "margin")
    assert interval.x1 < point.x < interval.x2 < band.x < none.x1 < band.x + band.width
    assert point.shape == "left"
    assert effect.value
    assert effect.low
    unit = (none.x1 - point.x) / math.log(1 / effect.value)
    assert interval.x1 == pytest.approx(none.x1 + unit * math.log(effect.low), abs=0.2)
    assert band.x + band.width == pytest.approx(none.x1 + unit * math.log(1.03), abs=0.2)
    assert band.x == pytest.approx(none.x1 - unit * math.log(1.03), abs=0.2)
    assert len(marks(chart, Line, "block")) == 10
    assert [text.text for text in marks(chart, Words)][-2:] == ["-20.0 % (-22.2..-17.8)", "lower"]


def test_forest_treats_halves_and_doubles_alike():
    chart = forest_of(spread_around(0.5), spread_around(2.0))
    half, double = marks(chart, Point)
    none = next(line for line in marks(chart, Line, "axis") if line.x1 == line.x2)
    assert none.x1 - half.x == pytest.approx(double.x - none.x1, abs=0.2)
    assert (half.shape, double.shape) == ("left", "right")


def test_forest_tells_calls_apart_without_colour():
    chart = forest_of(
        spread_around(0.8),
        spread_around(1.3),
        spread_around(1.0, width=0.001),
        spread_around(0.97, width=0.1),
        spread_around(0.8, blocks=3),
    )
    shapes = [point.shape for point in marks(chart, Point)]
    assert shapes == ["left", "right", "square", "circle", "diamond"]
    assert ["left-out" in point.css for point in marks(chart, Point)] == [False, False, False, True, True]


def test_forest_gives_no_call_on_latency_of_a_packed_layout():
    one = spread_around(0.8, packed=True)
    latency = spread_around(0.8, packed=True, comparison=_latency(one.comparison))
    texts = [text.text for text in marks(forest_of(one, latency), Words)]
    assert texts.count("lower") == 1
    assert texts.count("packed layout: no verdict") == 1


def _latency(comparison):
    return type(comparison)(
        experiment=comparison.experiment,
        metric="latency_p90",
        variant=comparison.variant,
        against=comparison.against,
    )


def test_nothing_to_draw():
    assert forest("Effects", []) is None
    assert tail_chart("signin", [], []) is None
    assert dot_chart("signin", [], []) is None
    assert drift_chart({"signin": []}, []) is None
    assert drift_table({"signin": []}, []) is None
    assert list(second_charts("signin", [], [])) == []


# --- distributions -----------------------------------------------------------------------------


def test_tail_stretches_each_nine_alike():
    shares = [0.0, 0.9, 0.99, 0.999, 0.9999, 1.0]
    curve = Curve(
        experiment="signin", side="final", count=10_000, shares=shares, ms=[1.0, 10.0, 20.0, 40.0, 80.0, 90.0]
    )
    chart = tail_chart("signin", ["baseline", "final"], [curve])
    assert chart
    known, rare = (
        trace for trace in marks(chart, Trace, "s1") if len(trace.points) > 2 or "rare" in trace.css
    )
    assert "rare" in rare.css
    rises = [before[1] - after[1] for before, after in itertools.pairwise(known.points)]
    assert rises == pytest.approx([HEIGHT / 4] * 3, abs=0.2)
    assert len(known.points) == 4  # 10 of 10,000 samples lie above 99.9 %, and 1 above 99.99 %
    assert rare.points[0] == known.points[-1]
    assert [known.points[1][0], *[x for x, _ in known.points[2:]]] == sorted(x for x, _ in known.points[1:])
    assert dict(row[:2] for row in chart.table.rows) == {
        "P50, ms": "10.00",
        "P75, ms": "10.00",
        "P90, ms": "10.00",
        "P99, ms": "20.00",
        "P99.9, ms": "40.00",
        "Max, ms": "90.00",
        "Requests": "10000",
    }


def test_tail_hides_rare_percentiles():
    curve = Curve(
        experiment="signin", side="a", count=50, shares=[0.5, 0.8, 0.9, 1.0], ms=[1.0, 2.0, 3.0, 4.0]
    )
    chart = tail_chart("signin", ["a"], [curve])
    assert chart
    assert [row[1] for row in chart.table.rows[:5]] == ["1.000", "2.000", "n<10", "n<10", "n<10"]
    labelled = [point for point in marks(chart, Point) if point.label]
    assert [point.label for point in labelled] == ["a: 50 % up to 1.000 ms"]


# --- order of runs -----------------------------------------------------------------------------


def test_dots_are_one_a_run_and_hollow_when_left_out():
    runs = [figures(1, 10.0), figures(2, 12.0), figures(3, 20.0, counted=False)]
    runs += [figures(4, 11.0, again=True)]
    chart = dot_chart("signin", ["baseline", "baseline.again"], runs)
    assert chart
    dots = marks(chart, Point)
    assert ["left-out" in dot.css for dot in dots] == [False, False, True, False]
    assert len({dot.shape for dot in dots[:3]}) == 1
    assert dots[3].shape != dots[0].shape
    assert dots[3].y > dots[2].y + 10  # a lane of its own
    first, _ = marks(chart, Line, "median")
    assert first.x1 == pytest.approx((dots[0].x + dots[1].x) / 2, abs=0.1)  # of the runs that count
    assert dots[2].label.endswith("instrument fault: steal")


def test_equal_figures_have_an_axis_too():
    chart = dot_chart("signin", ["baseline"], [figures(1), figures(2)])
    assert chart
    assert len(marks(chart, Line, "grid")) >= 2


def test_thousands_of_runs_are_thinned_and_it_is_said():
    runs = [figures(position, 10 + position % 7) for position in range(1, 2001)]
    chart = dot_chart("signin", ["baseline"], runs)
    assert chart
    assert len(marks(chart, Point)) == len(chart.table.rows) == MOST
    assert f"{MOST} of 2000 runs are drawn" in chart.caption
    chart = drift_chart({"signin": ["baseline"]}, runs)
    assert chart
    assert "400 of 2000 runs are drawn" in chart.caption


def test_drift_sets_each_run_against_its_own_side():
    sides = ["baseline", "final"]
    runs = [figures(position, cpu, variant=variant) for position, (variant, cpu) in enumerate(
        [("baseline", 10.0), ("final", 1.0), ("baseline", 11.0), ("final", 1.1), ("baseline", 10.5), ("final", 1.05)], 1
    )]  # fmt: skip
    chart = drift_chart({"signin": sides}, [*runs, figures(7, 12.6, counted=False)])
    assert chart
    points = [point for point in marks(chart, Point) if point.label]
    by_run = {point.label.partition(":")[0]: point for point in points}
    zero = next(line.y1 for line in marks(chart, Line, "axis") if line.y1 == line.y2)
    assert by_run["signin.05.baseline"].y == by_run["signin.06.final"].y == zero
    # -4.8 % of either median, whatever its size; 20 % above its side's
    assert by_run["signin.01.baseline"].y == by_run["signin.02.final"].y > zero
    assert by_run["signin.07.baseline"].y < by_run["signin.03.baseline"].y
    assert [point.shape for point in marks(chart, Point, "struck")] == ["cross"]
    assert by_run["signin.07.baseline"].x > by_run["signin.06.final"].x
    assert [row[3] for row in chart.table.rows if row[0] == "signin.07.baseline"] == ["+20.0 %"]


def test_drift_table_compares_thirds():
    runs = [figures(position, cpu) for position, cpu in enumerate([10.0, 10.0, 99.0, 99.0, 11.0, 11.0], 1)]
    table = drift_table({"signin": ["baseline"]}, runs)
    assert table
    assert table.rows == [["signin", "baseline", "CPU per request: app, CPU-ms", "10.00", "11.00", "+10.0 %"]]
    assert drift_table({"signin": ["baseline"]}, runs[: FEWEST - 1]) is None


# --- within a run ------------------------------------------------------------------------------


def within(side="baseline", means=(1.0, 2.0, 4.0), busy=(10.0, None, 30.0)):
    return WithinRun(
        experiment="signin",
        side=side,
        shown=f"signin.01.{side}",
        runs=3,
        latency=[
            Second(count=1, mean=mean, p50=mean, p99=mean, max=10 * mean)
            if mean
            else Second(count=0, mean=0, p50=0, p99=0, max=0)
            for mean in means
        ],
        median_mean_ms=[mean or None for mean in means],
        cores=[CoreSeries(host="box", cpu=0, owners=["app"], busy=list(busy), median=list(busy))],
        core_runs=3,
    )


def test_a_gap_breaks_the_line():
    latency, cores = second_charts("signin", ["baseline"], [within(means=(1.0, 0.0, 4.0, 2.0))])
    stretches = [len(trace.points) for trace in marks(latency, Trace, "plain")]
    assert stretches == [2, 2]  # a single second is a stroke of its own
    assert len(marks(cores, Trace, "area")) == 2
    assert [row[1] for row in latency.table.rows] == ["1.000", "-", "4.000", "2.000"]
    assert [row[1] for row in cores.table.rows] == ["10", "-", "30", "20"]


def test_columns_share_their_axes():
    both = [within("baseline"), within("final", means=(1.0, 2.0, 4.0))]
    latency, cores = second_charts("signin", ["baseline", "final"], both)
    first, second = marks(latency, Trace, "plain")
    assert [y for _, y in first.points] == [y for _, y in second.points]
    assert "s0" in first.css
    assert "s1" in second.css
    frames = marks(cores, Box, "frame")
    assert frames[0].y == frames[1].y
    assert frames[0].x + frames[0].width < frames[1].x
    full, third = (max(y for _, y in trace.points) - min(y for _, y in trace.points) for trace in (
        marks(second_charts_cores(100.0), Trace, "area")[0], marks(second_charts_cores(33.3), Trace, "area")[0]
    ))  # fmt: skip
    assert full == frames[0].height
    assert third == pytest.approx(frames[0].height / 3, abs=0.2)


def second_charts_cores(busy):
    return list(second_charts("signin", ["baseline"], [within(busy=(busy,))]))[1]


def test_many_sides_become_several_charts():
    sides = [f"step-{number}" for number in range(COLUMNS + 2)]
    charts = list(second_charts("signin", sides, [within(side) for side in sides]))
    assert len(charts) == 4
    headings = [text.text for text in marks(charts[1], Words, "strong")]
    assert headings == sides[COLUMNS:]


# --- SVG ---------------------------------------------------------------------------------------


def test_svg_escapes_what_others_wrote():
    chart = dot_chart('<b>"&', ['a<i>&"'], [figures(1, variant='a<i>&"')])
    assert chart
    text = svg(chart, "chart")
    assert "<b>" not in text
    assert "<i>" not in text
    assert "a&lt;i&gt;&amp;" in text
    ET.fromstring(text)


def test_outlines_are_closed_paths_but_for_the_cross():
    for shape, outline in OUTLINES.items():
        assert re.fullmatch(r"m-?[\d.]+[- ]?[\d.]+[-0-9.hvlam z]+", outline), shape
        assert outline.endswith("z") == (shape != "cross")
