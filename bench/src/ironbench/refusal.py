"""What somebody who wrote a file can do about msgspec's complaint of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[[^]]*\]")


def why_refused(error: msgspec.DecodeError, kind: Any) -> str:
    """Return the error on one line, with the choices where a value or a field is none of those that there are.

    ``kind`` is the type that was decoded.
    """
    text = " ".join(str(error).split())
    place = _PLACE.search(text)
    types = list(_at(inspect.type_info(kind), place["path"] if place else ""))
    if text.startswith("Invalid enum value"):
        choices = [
            str(value) for one in types if isinstance(one, inspect.LiteralType) for value in one.values
        ]
    elif text.startswith("Object contains unknown field"):
        choices = [
            field.encode_name for one in types if isinstance(one, inspect.StructType) for field in one.fields
        ]
    else:
        choices = []
    return f"{text}; there are {', '.join(choices)}" if choices else text


def _at(found: inspect.Type, path: str) -> Iterator[inspect.Type]:
    """Yield the types that a value at msgspec's path may have."""
    if isinstance(found, inspect.UnionType):
        for one in found.types:
            yield from _at(one, path)
        return
    step = _STEP.match(path)
    if step is None:
        yield found
        return
    rest = path[step.end() :]
    if isinstance(found, inspect.StructType):
        for field in found.fields:
            if field.encode_name == step["field"]:
                yield from _at(field.type, rest)
    elif isinstance(found, inspect.DictType):
        yield from _at(found.value_type, rest)
    elif isinstance(found, inspect.ListType | inspect.VarTupleType):
        yield from _at(found.item_type, rest)
