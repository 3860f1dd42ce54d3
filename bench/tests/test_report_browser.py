"""The HTML report in headless Chromium: what is drawn, what is asked of the network, keyboard, width, print."""

import itertools
import os
import re
import shutil

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is of the controller's environment"
)

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip(
        "there is no chromium; `make test` installs Debian's when it is root, else: apt-get install chromium",
        allow_module_level=True,
    )

NARROW = 400


@pytest.fixture(scope="module")
def browser():
    # Chromium's own sandbox refuses to start for root.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_report(browser, full):
    """Open the report; the page keeps what it logged and which addresses it asked for."""
    contexts = []

    def open_report(width=1240, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.heard, page.asked = [], []
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.address = (full[0] / "report.html").as_uri()
        page.goto(page.address)
        return page

    yield open_report
    for context in contexts:
        context.close()


def test_nothing_is_logged_and_nothing_is_asked_for(open_report):
    page = open_report()
    page.wait_for_load_state("networkidle")
    assert page.heard == []
    assert page.asked == [page.address]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn(open_report, full, scheme):
    page = open_report(color_scheme=scheme)
    charts = [chart for section in full[2].sections for chart in section.charts]
    drawn = page.evaluate(
        """() => [...document.querySelectorAll("svg")].map(svg => {
            const visible = mark => {
                const style = getComputedStyle(mark), box = mark.getBBox();
                const painted = style.stroke !== "none" || (style.fill !== "none" && style.fill !== "transparent");
                return painted && (box.width > 0 || box.height > 0);
            };
            const box = svg.getBoundingClientRect();
            return {
                title: svg.querySelector("title").textContent,
                width: box.width, height: box.height,
                marks: [...svg.children].filter(mark => mark.getBBox && visible(mark)).length,
                data: svg.querySelectorAll(".mark, .trace, .area").length,
            };
        })"""
    )
    assert [one["title"] for one in drawn] == [chart.title for chart in charts]
    for one, chart in zip(drawn, charts, strict=True):
        assert one["width"] >= 0.99 * chart.width
        assert one["height"] >= 0.99 * chart.height
        assert one["data"] > 0
        assert one["marks"] == len(chart.marks), chart.title


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(open_report, scheme):
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for what a chart consists of (1.4.11)."""
    page = open_report(color_scheme=scheme)
    colours = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const names = ["paper", "band", "flag-paper", "ink", "soft", "mark", "flag",
                           ...[...Array(8).keys()].map(n => "c" + n)];
            return Object.fromEntries(names.map(name => [name, style.getPropertyValue("--" + name).trim()]));
        }"""
    )
    for text, behind in (
        ("ink", "paper"),
        ("ink", "band"),
        ("soft", "paper"),
        ("soft", "band"),
        ("mark", "paper"),
    ):
        assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    assert contrast(colours["flag"], colours["flag-paper"]) >= 4.5
    for number in range(8):
        assert contrast(colours[f"c{number}"], colours["paper"]) >= 3, number


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_sides_differ_without_colour(open_report):
    page = open_report()
    dashes = page.evaluate(
        """() => [...document.querySelectorAll("svg .trace:not(.rare):not(.plain):not(.largest):not(.overall)")]
            .map(trace => [trace.getAttribute("class"), getComputedStyle(trace).strokeDasharray])"""
    )
    by_side = dict(map(tuple, dashes))
    assert len(by_side) == 5
    assert len(set(by_side.values())) == 5


def test_keyboard_reaches_everything(open_report):
    page = open_report()
    page.keyboard.press("Tab")
    focused = "() => document.activeElement.outerHTML.slice(0, 200)"
    assert 'class="skip"' in page.evaluate(focused)
    box = page.evaluate("() => document.activeElement.getBoundingClientRect().left")
    assert box >= 0  # shown once it has the focus
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "report"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.tagName"))
    assert "SUMMARY" in reached
    page.focus("details summary")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.querySelector('details').open")
    reachable = page.evaluate(
        "() => [...document.querySelectorAll('.wide')].every(wide => wide.tabIndex === 0 && wide.ariaLabel)"
    )
    assert reachable


def test_headings_go_down_one_step_at_a_time(open_report):
    page = open_report()
    levels = page.evaluate("() => [...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("() => document.documentElement.lang") == "en"


def test_a_narrow_screen_has_no_sideways_scrolling(open_report):
    page = open_report(width=NARROW)
    page.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW
    assert page.evaluate("() => document.body.scrollWidth") <= NARROW


def test_it_prints(open_report):
    page = open_report()
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 5 <= pages <= 40
    page.emulate_media(media="print")
    assert page.evaluate("() => getComputedStyle(document.querySelector('nav')).display") == "none"
    # A4 less the margins is 182 mm, which is 688 px: nothing may be cut off at the right.
    page.set_viewport_size({"width": 688, "height": 1000})
    too_wide = page.evaluate(
        """() => [...document.querySelectorAll("svg, table")]
            .filter(one => one.offsetParent !== null || one.tagName === "svg")
            .filter(one => one.getBoundingClientRect().right > 690)
            .map(one => one.closest("section").querySelector("h2").textContent)"""
    )
    assert too_wide == []
