"""Where the boxes of a flame graph lie: stacks in, frames out, the same for the same stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.records import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ironbench.flame.stacks import Stack

ALL = "all"


class _Node:
    """A frame with everything above it; values are inclusive."""

    __slots__ = ("above", "after", "before", "width")

    def __init__(self) -> None:
        self.above: dict[str, _Node] = {}
        self.before = 0.0
        self.after = 0.0
        self.width = 0.0


def layout(before: Mapping[Stack, float], after: Mapping[Stack, float] | None, least: float) -> list[Frame]:
    """Return the frames that are at least ``least`` of the whole wide, the outermost first, callees by name.

    With ``after`` it is a difference, and a frame is as wide as the larger of its two values, or as all that lies
    above it: what is in one of them alone stays visible.
    """
    root = _Node()
    _add(root, before, "before")
    _add(root, after or {}, "after")
    _measure(root)
    if not root.width:
        return []
    return list(_frames(root, 0.0, least * root.width, root.width, difference=after is not None))


def _add(root: _Node, stacks: Mapping[Stack, float], side: str) -> None:
    for stack, value in stacks.items():
        node = root
        setattr(node, side, getattr(node, side) + value)
        for frame in stack:
            node = node.above.setdefault(frame, _Node())
            setattr(node, side, getattr(node, side) + value)


def _walk(root: _Node) -> list[_Node]:
    found = [root]
    for node in found:  # grows while it is walked
        found += node.above.values()
    return found


def _measure(root: _Node) -> None:
    for node in reversed(_walk(root)):
        node.width = max(node.before, node.after, sum(one.width for one in node.above.values()))


def _frames(root: _Node, start: float, least: float, whole: float, *, difference: bool) -> Iterator[Frame]:
    due = [(root, ALL, 0, start)]
    while due:
        node, name, depth, left = due.pop()
        yield Frame(
            depth=depth,
            start=round(left / whole, 6),
            width=round(node.width / whole, 6),
            name=name,
            before=round(node.before, 4),
            after=round(node.after, 4) if difference else None,
        )
        later = []
        for above, one in sorted(node.above.items()):
            if one.width >= least:
                later.append((one, above, depth + 1, left))
            left += one.width
        due += reversed(later)
