"""YAML files that a user wrote, or got from somebody: read within limits, and decoded into records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import msgspec
import yaml

from ironbench.errors import IronbenchError
from ironbench.refusal import why_refused

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES = 1024 * 1024
"""The longest file of the study that comes with ironbench has 70 kB."""
MAX_VALUES = 200_000
"""Of a file, each counted as often as its aliases repeat it."""
MAX_DEPTH = 50

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FLOAT = "tag:yaml.org,2002:float"


def read_bytes(path: Path) -> bytes:
    """Read a file; raises OSError, and IronbenchError for one that is too large."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise IronbenchError(
            f"{path} has more than {MAX_BYTES} bytes, which no such file needs; make it shorter."
        )
    return raw


def decode(raw: bytes, kind: type[T], path: Path, what: str) -> T:
    """Decode a file's content; ``what`` says in the sentence what it should have been, as ``is not a study``.

    Raises IronbenchError when it is something else, or repeats itself by aliases without end or measure.
    """
    try:
        problem = complaint(raw)
        if problem is None:
            return msgspec.yaml.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        problem = why_refused(error, kind)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        problem = " ".join(str(error).split())
    raise IronbenchError(f"{path} {what}: {problem}.")


def complaint(raw: bytes) -> str | None:
    """Say why a file is not to be loaded: a walk over its events, which takes time in proportion to its bytes.

    None where nothing is wrong; raises yaml.YAMLError for what is no YAML.
    """
    loader = _Loader(raw)
    walk = _Walk(loader)
    try:
        while loader.check_event():
            found = walk.step(loader.get_event())
            if found is not None:
                return found
    finally:
        loader.dispose()
    return None


class _Walk:
    """Counts the values of a file as if its aliases were written out."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._values = 0
        self._sizes: dict[str, int] = {}
        """Values below each anchor that is complete."""
        self._open: list[tuple[str | None, int]] = []
        """Anchor of each list and mapping that is not, and the values before it."""

    def step(self, event: yaml.Event) -> str | None:
        """Take one event; say what is wrong with it."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        found = None
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                return f"the alias *{event.anchor} in line {line} names nothing that is complete before it"
            self._values += self._sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self._values))
            self._values += 1
            if len(self._open) > MAX_DEPTH:
                found = f"line {line} is nested more than {MAX_DEPTH} deep"
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor:
                self._sizes[anchor] = self._values - before
        if self._values > MAX_VALUES:
            found = f"it has more than {MAX_VALUES} values at line {line}, each counted as often as aliases repeat it"
        return found

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> str | None:
        self._values += 1
        if event.anchor:
            self._sizes[event.anchor] = 1
        if event.implicit[0] and not _is_finite(self._loader, event.value):
            return f"line {line} has the number {event.value[:40]}, which no figure can be"
        return None


def _is_finite(loader: yaml.SafeLoader, text: str) -> bool:
    """Whether a plain scalar is no number, or a finite one."""
    if loader.resolve(yaml.ScalarNode, text, (True, False)) != _FLOAT:
        return True
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        return False
    return ":" in text or math.isfinite(float(text.replace("_", "")))
