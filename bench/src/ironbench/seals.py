"""The ledger of a bundle, seals.jsonl: the SHA-256 of every record that was put into it, a line each.

A record's digest lies outside of the record, so that who edits one is told of it. It holds against mistakes and casual
edits, and not against somebody who writes the ledger anew.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import NOT_JSON, sync_directory
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEDGER = "seals.jsonl"


class Seal(Record, frozen=True, kw_only=True):
    """A line of the ledger; a later one of the same path takes the place of an earlier one."""

    path: str
    """Relative to the bundle."""
    sha256: str
    """In hex."""


def digest(raw: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(raw).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; raises OSError when it cannot be read."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append(bundle: Path, digests: Mapping[str, str]) -> None:
    """Add digests by path to the ledger, and wait until they are on the disk.

    Called before the record itself gets its name: a kill between the two leaves a line without its record, which
    nobody reads, and never a record without its line.
    """
    path = bundle / LEDGER
    made = not path.exists()
    with path.open("ab+") as file:
        if file.tell():  # a kill may have cut the last line off
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        else:
            torn = False
        lines = [msgspec.json.encode(Seal(path=name, sha256=sha256)) for name, sha256 in digests.items()]
        file.write(b"\n" * torn + b"".join(line + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    if made:
        sync_directory(bundle)


def read(bundle: Path) -> dict[str, str]:
    """Return the digests by path; none for a bundle of an earlier ironbench.

    A line that is none is left out: it was cut off by a kill, and its record is then told to have no seal. Raises
    IronbenchError when the ledger is there and cannot be read.
    """
    try:
        lines = (bundle / LEDGER).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise IronbenchError(f"cannot read {bundle / LEDGER}: {error.strerror}.") from error
    decoder = msgspec.json.Decoder(Seal)
    found = {}
    for line in lines:
        try:
            seal = decoder.decode(line)
        except NOT_JSON:
            continue
        found[seal.path] = seal.sha256
    return found


def complaint(seals: Mapping[str, str], name: str, raw: bytes) -> str | None:
    """Say what is wrong with the content of a record, in half a sentence; None where it is as it was sealed."""
    if name in seals and seals[name] != digest(raw):
        return f"{name} is not what was sealed: its SHA-256 is not that of {LEDGER}"
    return None
