"""Flame graphs in the report: shares of named functions, what py-spy itself costs, and the graphs."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from ironbench.flame.summary import MODE_TITLES, MODES, share_text
from ironbench.patterns import compiled
from ironbench.report.model import Box, Chart, Section, Table, Words
from ironbench.report.svg import svg
from ironbench.report.words import change

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from ironbench.records import FlameDrawing, FlameSummary, Frame, Results, Share, SpyCost
    from ironbench.report.model import Mark

WIDTH = 1200
ROW = 16
HEAD = 26
CHARACTER = 6.7
"""Width of one in the drawing's units."""
PALETTE = 5
SHADES = (0.02, 0.15)
"""Parts of the largest change, beyond which a difference has a stronger colour."""


def flame_sections(results: Results) -> Iterator[Section]:
    """Make the sections, none where the bundle has no flame graphs."""
    summary = results.flame_graphs
    if summary is None:
        return
    yield _shares(summary)
    yield _costs(summary)
    for drawing in summary.drawings:
        if drawing.name.endswith(".published") or drawing.unit != "samples":
            yield Section(
                title=f"Flame graph: {drawing.title}",
                charts=[chart(drawing, summary)],
                terminal=False,
                markdown=False,
            )


def _shares(summary: FlameSummary) -> Section:
    plan = summary.plan
    by_key = {(s.graph, s.variant, s.function, s.mode): s for s in summary.shares}
    rows = []
    for graph, spec in plan.spec.graphs.items():
        for variant in spec.variants:
            for function, named in plan.spec.functions.items():
                found = [by_key.get((graph, variant, function, mode)) for mode in MODES]
                if any(share is not None and share.value for share in found):
                    rows.append([graph, variant, function, named.title, *map(_share, found)])
    total = len(plan.runs)
    return Section(
        title="Shares of named functions in the flame graphs",
        paragraphs=[
            (
                f"{summary.sealed} of {total} recordings by py-spy, {plan.spec.seconds:g} s of each mode, one worker, under "
                "a load that is not scored."
            ),
            *(
                f"No verdict on {graph}, {variant}: {reason}."
                for graph, variant, reason in _withheld(summary)
            ),
            *(
                f"{number} more of {name} {'was' if number == 1 else 'were'} begun and not sealed."
                for name, number in summary.interrupted.items()
            ),
        ],
        table=Table(
            header=["Graph", "Variant", "Function", "What it is", *(MODE_TITLES[mode] for mode in MODES)],
            rows=rows,
            words=4,
            prose=[3],
        )
        if rows
        else None,
        notes=[
            (
                "Per cent of the samples that have the function in their stack; the median over recordings, with its "
                "interval of 95 % where there are 6."
            ),
            (
                "As published: py-spy leaves out threads that it takes for idle, so a thread that waits for Argon2's lanes "
                "does not count. With waiting threads: all samples but those of a thread that has nothing to do."
            ),
        ],
    )


def _withheld(summary: FlameSummary) -> list[tuple[str, str, str]]:
    return list(
        dict.fromkeys((one.graph, one.variant, reason) for one in summary.shares for reason in one.withheld)
    )


def _share(share: Share | None) -> str:
    return "-" if share is None else share_text(share)


def _costs(summary: FlameSummary) -> Section:
    rows = [
        [
            cost.graph,
            cost.variant,
            MODE_TITLES[cost.mode],
            f"{cost.with_ms:.3f}",
            "-" if cost.mode == "none" else _ratio(cost),
            f"{100 * cost.spy_share:.0f} %",
            f"{100 * cost.ended_share:.0f} %",
            str(cost.recordings),
        ]
        for cost in summary.costs
    ]
    return Section(
        title="What py-spy costs the app, and what it cannot see",
        table=Table(
            header=[
                "Graph",
                "Variant",
                "Mode",
                "App, CPU-ms",
                "Against without",
                "py-spy's CPU",
                "Unseen",
                "Recordings",
            ],
            rows=rows,
            words=3,
        )
        if rows
        else None,
        paragraphs=[] if rows else ["No recording is sealed yet."],
        notes=[
            "App: CPU per answered request, of the app's cgroup. Against without: the same sessions without py-spy.",
            (
                "py-spy's CPU: of one CPU, its start included. Unseen: the app's CPU time in threads that began or ended "
                "meanwhile, as Argon2's lanes do; no mode shows them."
            ),
        ],
    )


def _ratio(cost: SpyCost) -> str:
    text = change(cost.value)
    if cost.low is not None and cost.high is not None:
        text += f" ({100 * (cost.low - 1):+.1f}..{100 * (cost.high - 1):+.1f})"
    return text


# --- drawing -----------------------------------------------------------------------------------


def chart(drawing: FlameDrawing, summary: FlameSummary) -> Chart:
    """Draw a flame graph: the outermost frame at the bottom."""
    deepest = max((frame.depth for frame in drawing.frames), default=0)
    height = HEAD + ROW * (deepest + 1) + 4
    marks: list[Mark] = [Words(x=4, y=17, text=drawing.title, css="fl-title")]
    largest = max((abs(_change(frame)) for frame in drawing.frames), default=0.0)
    whole = drawing.frames[0] if drawing.frames else None
    named = [compiled(function.frames) for function in summary.plan.spec.functions.values()]
    for frame in drawing.frames:
        assert whole is not None
        x, width = frame.start * WIDTH, frame.width * WIDTH
        y = HEAD + ROW * (deepest - frame.depth)
        css = _css(frame, largest, named)
        marks.append(Box(x=x, y=y, width=width, height=ROW - 1, css=css, label=_label(frame, whole, drawing)))
        room = int((width - 4) / CHARACTER)
        if room >= 4:
            marks.append(Words(x=x + 2, y=y + 11.5, text=in_room(frame.name, room), css="fl-text"))
    return Chart(
        title=drawing.title,
        description=f"Flame graph of {drawing.title}, in {drawing.unit}; the table below has the named functions.",
        width=WIDTH,
        height=height,
        marks=marks,
        caption=_caption(drawing),
        table=_table(drawing, summary),
    )


def in_room(name: str, room: int) -> str:
    """Return what fits of ``function (file)`` into so many characters: the function's own name stays longest."""
    qualified = name.partition(" (")[0]
    own = qualified.rpartition(".")[2]
    return next((text for text in (name, qualified, own) if len(text) <= room), f"{own[: room - 1]}…")


def file_svg(drawing: FlameDrawing, summary: FlameSummary) -> bytes:
    """Write a drawing as a file of its own, which needs nothing else and runs no script."""
    style = (files("ironbench.report") / "templates" / "flame.css").read_text()
    return str(svg(chart(drawing, summary), "flame", style)).encode() + b"\n"


def _caption(drawing: FlameDrawing) -> str:
    file = f"flamegraphs/{drawing.name}.svg has the narrow frames too."
    if drawing.unit == "samples":
        return f"Width: part of all samples. Framed: functions that the study names. Rest on a frame for its figures. {file}"
    return (
        "Width: time in which py-spy saw it, per request, the larger of the two variants. Blue is less after, red "
        f"more, the stronger the more; rest on a frame for both figures. {file}"
    )


def _label(frame: Frame, whole: Frame, drawing: FlameDrawing) -> str:
    if frame.after is None:
        part = 100 * frame.before / whole.before if whole.before else 0.0
        return f"{frame.name}: {frame.before:.0f} samples, {part:.1f} %"
    return f"{frame.name}: {frame.before:.3f} to {frame.after:.3f} {drawing.unit} ({_change(frame):+.3f})"


def _change(frame: Frame) -> float:
    return 0.0 if frame.after is None else frame.after - frame.before


def _css(frame: Frame, largest: float, named: list[re.Pattern[str]]) -> str:
    outline = " fl-named" if any(pattern.search(frame.name) for pattern in named) else ""
    if frame.after is None:
        shade = hashlib.sha256(frame.name.encode()).digest()[0] % PALETTE
        return f"fl fl-{shade}{outline}"
    part = abs(_change(frame)) / largest if largest else 0.0
    if part < SHADES[0] / 4:
        return f"fl fl-same{outline}"
    strength = 1 + sum(part >= shade for shade in SHADES)
    return f"fl fl-{'more' if _change(frame) > 0 else 'less'}-{strength}{outline}"


def _table(drawing: FlameDrawing, summary: FlameSummary) -> Table:
    """Return the shares of the graph's named functions, or of a difference the functions that changed most."""
    if drawing.unit == "samples":
        graph, variant, mode = drawing.name.split(".")
        rows = [
            [summary.plan.spec.functions[s.function].title, share_text(s)]
            for s in summary.shares
            if (s.graph, s.variant, s.mode) == (graph, variant, mode) and s.value
        ]
        return Table(header=["Function", "Share"], rows=rows)
    changed: dict[str, tuple[float, float]] = {}
    for frame in drawing.frames:
        # The widest frame of a name: a function that calls itself is counted once.
        before, after = changed.get(frame.name, (0.0, 0.0))
        if frame.after is not None and max(frame.before, frame.after) > max(before, after):
            changed[frame.name] = frame.before, frame.after
    most = sorted(changed.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), item[0]))[:20]
    return Table(
        header=["Frame", "Before, ms", "After, ms", "Change, ms"],
        rows=[[name, f"{b:.3f}", f"{a:.3f}", f"{a - b:+.3f}"] for name, (b, a) in most],
    )
