"""Writes the files of one run; load.json comes last, so its presence means that they are complete."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.load.histogram import hgrm, hlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ironbench.load.summary import Durations, Row
    from ironbench.records import LoadResult

BACKGROUND = "background"
"""Directory below a load's own for the files of its background; they have the same names."""
_COLUMNS = ("connection", "intended_ns", "sent_ns", "done_ns", "outcome")


def make_directory(out: Path) -> None:
    """Make ``out`` where it is missing; raises IronbenchError when it holds a run already."""
    if (out / "load.json").exists():
        raise IronbenchError(f"{out} already holds a run (load.json); name another directory.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IronbenchError(f"The directory {out} cannot be made: {error.strerror}.") from error


def write(out: Path, result: LoadResult, measured: Durations, requests: Iterable[Row]) -> None:
    """Write load.json, histograms.json, requests.csv.gz, and NAME.hlog and NAME.hgrm of each histogram."""
    span = result.idle_until_ns, result.drained_ns
    files = {}
    for name, histogram in measured.named().items():
        files[f"{name}.hlog"] = hlog(histogram, *span).encode()
        files[f"{name}.hgrm"] = hgrm(histogram).encode()
    files |= {
        "histograms.json": _json(measured.encoded()),
        "requests.csv.gz": _csv_gz(requests),
        "load.json": _json(result),
    }
    for name, data in files.items():
        (out / f".{name}.part").write_bytes(data)
    for name in files:
        (out / f".{name}.part").rename(out / name)


def _json(record: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _csv_gz(requests: Iterable[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(requests)
    return gzip.compress(text.getvalue().encode(), mtime=0)
