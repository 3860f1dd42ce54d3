"""What psql prints of one session of executions: a script in, typed records out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.query_plan.table import QUERY
from ironbench.records import QueryExecution, ShownPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MARK = "ironbench: next"
"""A line between two parts of what a script prints."""

_DISK = "SELECT pg_read_file('/proc/self/io', 0, 4096, true);"
"""What the kernel counts of the very backend; nothing where it does not count."""


def set_parameters(parameters: dict[str, str]) -> str:
    """Write the statements that set parameters for the rest of the session."""
    return "".join(f"SET {name} = '{value}';\n" for name, value in parameters.items())


def execution_script(executions: Iterable[dict[str, str]], *, first: str = "") -> str:
    """Write a session that runs the query once under each set of parameters, after ``first``."""
    parts = [first]
    for parameters in executions:
        parts += [
            set_parameters(parameters),
            f"\\echo {MARK}\n{_DISK}\n",
            f"\\echo {MARK}\nEXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {QUERY};\n",
            f"\\echo {MARK}\n{_DISK}\n",
        ]
    return "".join(parts)


def read_executions(
    printed: str, settings: Sequence[tuple[int, str]], *, skipped: int = 0
) -> list[QueryExecution]:
    """Read what ``execution_script`` printed; ``settings`` are block and name of each execution.

    The first ``skipped`` executions are left out, and are not among ``settings``. Raises IronbenchError when
    there are more or fewer.
    """
    parts = _parts(printed)[1:]
    triples = list(zip(parts[0::3], parts[1::3], parts[2::3], strict=False))
    if len(parts) != 3 * (skipped + len(settings)):
        raise IronbenchError(
            f"psql printed {len(triples)} executions and {skipped + len(settings)} were asked for."
        )
    return [
        _execution(json.loads(plan), block, setting, before, after)
        for (before, plan, after), (block, setting) in zip(triples[skipped:], settings, strict=True)
    ]


def shown_script(parameters: dict[str, str]) -> str:
    """Write a session that prints the plan of the query as text and as JSON."""
    explain = "".join(
        f"\\echo {MARK}\nEXPLAIN (ANALYZE, BUFFERS, FORMAT {form}) {QUERY};\n" for form in ("TEXT", "JSON")
    )
    return set_parameters(parameters) + explain


def read_shown(printed: str) -> ShownPlan:
    """Read what ``shown_script`` printed."""
    _, text, raw = _parts(printed)
    return ShownPlan(text=text.rstrip("\n").splitlines(), raw=json.loads(raw))


def _parts(printed: str) -> list[str]:
    return re.split(rf"^{re.escape(MARK)}\n", printed, flags=re.MULTILINE)


def _execution(told: list[dict], block: int, setting: str, before: str, after: str) -> QueryExecution:
    (explained,) = told
    top = explained["Plan"]
    return QueryExecution(
        setting=setting,
        block=block,
        scan=" > ".join(_nodes(top)),
        rows=round(top["Actual Rows"]),
        planning_ms=explained["Planning Time"],
        execution_ms=explained["Execution Time"],
        # Of the topmost node, which counts those below with its own.
        hit=top["Shared Hit Blocks"],
        read=top["Shared Read Blocks"],
        disk_bytes=_disk_bytes(before, after),
    )


def _nodes(node: dict) -> Iterator[str]:
    yield node["Node Type"]
    for below in node.get("Plans", []):
        yield from _nodes(below)


def _disk_bytes(before: str, after: str) -> int | None:
    found = [re.search(r"^read_bytes: (\d+)$", text, re.MULTILINE) for text in (before, after)]
    counts = [int(match[1]) for match in found if match]
    return counts[1] - counts[0] if len(counts) == 2 else None
