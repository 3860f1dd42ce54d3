"""The lines of a text that another program printed, and the error that names one of them."""

from __future__ import annotations

from ironbench.errors import IronbenchError


def read_lines(raw: bytes, name: str) -> list[str]:
    """Decode UTF-8, with or without a byte order mark, and split at line feeds only.

    Raises IronbenchError for anything else, an empty file too.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise fault(
            name, line, "it holds bytes that are not UTF-8; give the file as the program wrote it"
        ) from error
    if not text.strip():
        raise fault(name, 1, "it is empty")
    return [line.rstrip() for line in text.removesuffix("\n").split("\n")]


def fault(name: str, line: int, what: str) -> IronbenchError:
    """Say what is wrong in which line (from 1) of which file."""
    return IronbenchError(f"{name}, line {line}: {what}.")


def quoted(text: str) -> str:
    """Quote a line for an error's sentence, not more of it than a reader needs, on one line."""
    shown = text.strip()
    return ascii(shown if len(shown) <= 60 else f"{shown[:57]}...")
