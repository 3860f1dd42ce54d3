"""The cache of users by fastapi-cache2."""

from typing import Any, cast
from uuid import UUID

from fastapi_cache import Coder, FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from auth_app.caches.formats import UNREADABLE, CurrentUser, Format
from auth_app.caches.users import LIFE_S, Load, key_prefix


class FastapiCache2Users:
    """Two commands to Valkey (TTL, GET) for every hit."""

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

        self._prefix = key_prefix(form)

        def key_of_call(_func: Any, _namespace: str = "", *, args: tuple[Any, ...], **_: Any) -> str:
            return f"{self._prefix}{args[0]}"

        @cache(expire=LIFE_S, coder=UserCoder, key_builder=key_of_call)
        async def cached(user_id: UUID, load: Load) -> Any:
            return form.from_row(await load(user_id))

        self._cached = cached

    async def get(self, user_id: UUID, load: Load) -> CurrentUser:
        try:
            return cast("CurrentUser", await self._cached(user_id, load))
        except UNREADABLE:
            # What cannot be read is a miss.
            await self.forget(user_id)
            return cast("CurrentUser", await self._cached(user_id, load))

    async def forget(self, user_id: UUID) -> None:
        await FastAPICache.clear(key=f"{self._prefix}{user_id}")
