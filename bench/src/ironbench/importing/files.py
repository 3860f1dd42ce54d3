"""Reading published files: wrk2's output, and sar's in each of its forms."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ironbench.collect import sar, sar_text, wrk2
from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BINARY = (b"\x96\xd5", b"\xd5\x96")
"""How sar's binary files start: sysstat's magic number, of either byte order."""
JSON_SELECTION = ["-u", "ALL", "-P", "ALL", "-w", "-q"]
LOCALE = {"LC_ALL": "C", "TZ": "UTC", "S_TIME_FORMAT": "ISO", "S_COLORS": "never"}
LONGEST_S = 60
"""sadf needs less than a second for a day of samples."""

_WINDOW = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")


def read_bytes(path: Path) -> bytes:
    """Raise IronbenchError where the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error


def read_wrk2(path: Path) -> wrk2.Wrk2Log:
    """Read the output of one run of wrk2."""
    return wrk2.parse(read_bytes(path), str(path))


def read_sar(path: Path, window: tuple[int, int] | None) -> sar.SarReport:
    """Read a text report of sar, a binary file of it (through sadf), or sadf's JSON.

    Raises IronbenchError when it is none of them, when it does not have the window's samples, and when
    sysstat is needed and not there.
    """
    raw = read_bytes(path)
    if raw.startswith(BINARY):
        file = _binary(path)
    elif raw.startswith(b"{"):
        with _naming(path):
            file = sar.decode_file(raw)
    else:
        file = sar_text.parse(raw, str(path))
    with _naming(path):
        return sar.make_report(file, window)


def parse_window(text: str) -> tuple[int, int]:
    """Read "2-31": the second to the thirty-first sample of a sar record, both included.

    Raises IronbenchError for anything else.
    """
    match = _WINDOW.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise IronbenchError(f"the window {text!r} is not FIRST-LAST in samples, counted from 1, as 2-31.")
    return int(match[1]), int(match[2])


def _binary(path: Path) -> sar.SarFile:
    """Take the samples from sadf and the averages, which it does not have, from sar."""
    told = _run(path, ["sadf", "-j", str(path), "--", *JSON_SELECTION])
    with _naming(path):
        file = sar.decode_file(told)
    text = _run(path, ["sar", "-f", str(path), *JSON_SELECTION])
    averages = sar_text.parse(text, f"sar -f {path}")
    file.average_usr, file.averages = averages.average_usr, averages.averages
    return file


def _run(path: Path, command: list[str]) -> bytes:
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, env=os.environ | LOCALE, timeout=LONGEST_S
        )
    except FileNotFoundError as error:
        raise IronbenchError(
            f"{path} is a binary file of sar and this machine has no {command[0]} to read it: install the "
            "package sysstat, or give the text reports that `sar -f` makes of it."
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        told = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        reason = ascii(told[0])[1:-1] if told else type(error).__name__
        raise IronbenchError(
            f"{path} cannot be read by this machine's {command[0]} ({reason}); take sysstat of the version "
            "that wrote it."
        ) from error
    return done.stdout


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before an error's sentence."""
    try:
        yield
    except IronbenchError as error:
        raise IronbenchError(f"{path}: {error}") from error
