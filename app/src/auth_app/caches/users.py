"""The cache of the user behind a token, asked by every authenticated request."""

from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

import msgspec
from fastapi.encoders import jsonable_encoder
from fastapi_cache import Coder, FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from auth_app.caches.store import Store
from auth_app.db.models import UserAccount
from auth_app.db.users import UserService
from auth_app.schemas import pydantic_out, struct_out

LIFE_S = 30 * 60

CurrentUser = pydantic_out.User | struct_out.User
UserT = TypeVar("UserT", pydantic_out.User, struct_out.User)


class Format(Protocol[UserT]):
    """How a cached user looks in memory and as bytes."""

    def from_row(self, row: UserAccount) -> UserT: ...

    def encode(self, user: UserT) -> bytes: ...

    def decode(self, data: bytes) -> UserT: ...


class PydanticFormat:
    def from_row(self, row: UserAccount) -> pydantic_out.User:
        return pydantic_out.User.model_validate(row)

    def encode(self, user: pydantic_out.User) -> bytes:
        return msgspec.msgpack.encode(jsonable_encoder(user))

    def decode(self, data: bytes) -> pydantic_out.User:
        return pydantic_out.User.model_validate(msgspec.msgpack.decode(data))


class StructFormat:
    def __init__(self) -> None:
        self._decoder = msgspec.msgpack.Decoder(struct_out.User)

    def from_row(self, row: UserAccount) -> struct_out.User:
        return struct_out.User.from_row(row)

    def encode(self, user: struct_out.User) -> bytes:
        return msgspec.msgpack.encode(user)

    def decode(self, data: bytes) -> struct_out.User:
        return self._decoder.decode(data)


class UserCache(Protocol):
    async def get(self, user_id: UUID, users: UserService) -> CurrentUser:
        """Return the user from the cache, else from the database; ``ApiError`` 401 when there is none."""
        ...

    async def forget(self, user_id: UUID) -> None: ...


class FastapiCache2Users:
    """fastapi-cache2: two commands to Valkey (TTL, GET) for every hit."""

    def __init__(self, valkey: Redis, form: Format[Any]) -> None:
        class UserCoder(Coder):
            @classmethod
            def encode(cls, value: Any) -> bytes:
                return form.encode(value)

            @classmethod
            def decode(cls, value: bytes) -> Any:
                return form.decode(value)

        # The library keeps its set-up on a class; without a reset it ignores a second init.
        FastAPICache.reset()
        FastAPICache.init(RedisBackend(valkey))

        @cache(expire=LIFE_S, coder=UserCoder, key_builder=_key_of_call)
        async def load(user_id: UUID, users: UserService) -> Any:
            return form.from_row(await users.profile(user_id))

        self._load = load

    async def get(self, user_id: UUID, users: UserService) -> CurrentUser:
        return cast("CurrentUser", await self._load(user_id, users))

    async def forget(self, user_id: UUID) -> None:
        await FastAPICache.clear(key=_key(user_id))


class CashewsUsers:
    """cashews: a hit is answered from the worker's own memory."""

    def __init__(self, store: Store, form: Format[Any]) -> None:
        self._store = store
        self._form = form

    async def get(self, user_id: UUID, users: UserService) -> CurrentUser:
        key = _key(user_id)
        cached = await self._store.get(key)
        if cached is not None:
            return self._form.decode(cached)
        user = self._form.from_row(await users.profile(user_id))
        await self._store.set(key, self._form.encode(user), LIFE_S)
        return user

    async def forget(self, user_id: UUID) -> None:
        await self._store.delete(_key(user_id))


def _key(user_id: UUID) -> str:
    return f"user_auth:{user_id}"


def _key_of_call(_func: Any, _namespace: str = "", *, args: tuple[Any, ...], **_: Any) -> str:
    return _key(args[0])
