"""Reading and writing records on disk: checked on the way in, atomic on the way out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeVar

import msgspec

from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA

T = TypeVar("T", bound=msgspec.Struct)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not the JSON that was asked for."""


class OtherSchemaError(IronbenchError):
    """The record is of a schema that this ironbench does not read."""


class _Versioned(msgspec.Struct):
    schema: int


def check_name(text: str) -> None:
    """Raise IronbenchError when the text cannot name a file or directory."""
    if not _NAME.fullmatch(text):
        raise IronbenchError(
            f"{text!a} cannot be a name here; use at most 255 letters, digits, '.', '_' and '-' and start with a "
            "letter or digit."
        )


def read_record(path: Path, kind: type[T]) -> T:
    """Read a record that carries ``schema`` from a JSON file.

    Raises IronbenchError when the file is missing, is not such a record, or has another schema.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
    return decode_record(raw, kind, str(path))


def decode_record(raw: bytes, kind: type[T], where: str) -> T:
    """Decode a record that carries ``schema``; ``where`` names it in the error's sentence.

    Raises IronbenchError when it is no such record, and OtherSchemaError when its schema is another.
    """
    try:
        version = msgspec.json.decode(raw, type=_Versioned).schema
        if version == SCHEMA:
            return msgspec.json.decode(raw, type=kind)
    except NOT_JSON as error:
        raise IronbenchError(f"{where} is not a {kind.__name__} record: {error}.") from error
    raise OtherSchemaError(f"{where} has schema {version}, and this ironbench reads schema {SCHEMA} only.")


def encode_record(record: msgspec.Struct | dict) -> bytes:
    """Indented JSON with a newline at the end; the same record gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: temporary name, fsync, rename, fsync of the directory."""
    temporary = path.with_name(f".{path.name}.tmp")
    write_synced(temporary, content)
    temporary.replace(path)
    sync_directory(path.parent)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Wait until the directory's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(top: Path) -> None:
    """Wait until every file and directory below ``top`` is on the disk, ``top`` last."""
    for directory, _, files in os.walk(top, topdown=False):
        for name in files:
            descriptor = os.open(Path(directory, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(directory))
