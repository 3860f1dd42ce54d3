"""How a cached user looks in memory and as bytes."""

import hashlib
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from fastapi.encoders import jsonable_encoder

from auth_app.schemas import pydantic_out, struct_out

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises for bytes that somebody else has left in the cache."""

CurrentUser = pydantic_out.User | struct_out.User
UserT = TypeVar("UserT", pydantic_out.User, struct_out.User)


class Format(Protocol[UserT]):
    name: str
    """Of what the bytes hold: another form or other fields have another name."""

    def from_row(self, row: Any) -> UserT: ...

    def encode(self, user: UserT) -> bytes: ...

    def decode(self, data: bytes) -> UserT:
        """Read bytes of ``encode``; others raise one of ``UNREADABLE``."""
        ...


def _name(kind: str, fields: Iterable[str]) -> str:
    return f"{kind}-{hashlib.sha256(' '.join(fields).encode()).hexdigest()[:8]}"


PydanticT = TypeVar("PydanticT", bound=pydantic_out.User)
StructT = TypeVar("StructT", bound=struct_out.User)


class PydanticFormat(Generic[PydanticT]):
    def __init__(self, model: type[PydanticT]) -> None:
        self._model = model
        self.name = _name("pydantic", model.model_fields)

    def from_row(self, row: Any) -> PydanticT:
        return self._model.model_validate(row)

    def encode(self, user: PydanticT) -> bytes:
        return msgspec.msgpack.encode(jsonable_encoder(user))

    def decode(self, data: bytes) -> PydanticT:
        return self._model.model_validate(msgspec.msgpack.decode(data))


class StructFormat(Generic[StructT]):
    def __init__(self, struct: type[StructT]) -> None:
        self._struct = struct
        self.name = _name("struct", struct.__struct_fields__)
        self._decoder = msgspec.msgpack.Decoder(struct)

    def from_row(self, row: Any) -> StructT:
        return self._struct.from_row(row)

    def encode(self, user: StructT) -> bytes:
        return msgspec.msgpack.encode(user)

    def decode(self, data: bytes) -> StructT:
        return self._decoder.decode(data)
