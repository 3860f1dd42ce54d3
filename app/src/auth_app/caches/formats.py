"""How a cached user looks in memory and as bytes."""

from typing import Any, Generic, Protocol, TypeVar

import msgspec
from fastapi.encoders import jsonable_encoder

from auth_app.schemas import pydantic_out, struct_out

CurrentUser = pydantic_out.User | struct_out.User
UserT = TypeVar("UserT", pydantic_out.User, struct_out.User)


class Format(Protocol[UserT]):
    def from_row(self, row: Any) -> UserT: ...

    def encode(self, user: UserT) -> bytes: ...

    def decode(self, data: bytes) -> UserT: ...


PydanticT = TypeVar("PydanticT", bound=pydantic_out.User)
StructT = TypeVar("StructT", bound=struct_out.User)


class PydanticFormat(Generic[PydanticT]):
    def __init__(self, model: type[PydanticT]) -> None:
        self._model = model

    def from_row(self, row: Any) -> PydanticT:
        return self._model.model_validate(row)

    def encode(self, user: PydanticT) -> bytes:
        return msgspec.msgpack.encode(jsonable_encoder(user))

    def decode(self, data: bytes) -> PydanticT:
        return self._model.model_validate(msgspec.msgpack.decode(data))


class StructFormat(Generic[StructT]):
    def __init__(self, struct: type[StructT]) -> None:
        self._struct = struct
        self._decoder = msgspec.msgpack.Decoder(struct)

    def from_row(self, row: Any) -> StructT:
        return self._struct.from_row(row)

    def encode(self, user: StructT) -> bytes:
        return msgspec.msgpack.encode(user)

    def decode(self, data: bytes) -> StructT:
        return self._decoder.decode(data)
