"""Bytes by key in Valkey, with a copy in each worker (cashews, client_side)."""

import asyncio
from contextlib import suppress
from typing import Protocol

from cashews import Cache as Cashews
from redis.asyncio import Redis
from redis.exceptions import RedisError

from auth_app.settings import Cache

RETRY_S = 0.5


class Store(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, life_s: float) -> None: ...

    async def delete(self, key: str) -> None: ...


class NoStore:
    """For variants without cashews: always empty."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, life_s: float) -> None: ...

    async def delete(self, key: str) -> None: ...


class CashewsStore:
    """cashews in client-side mode.

    A worker keeps what it read or wrote in its own memory; Valkey tells all workers when a key of
    this prefix changes (CLIENT TRACKING, broadcast), and they drop their copy. When Valkey does not
    answer, a read is a miss.
    """

    def __init__(self, settings: Cache, valkey: Redis) -> None:
        self._valkey = valkey
        self._opening: asyncio.Task[None] | None = None
        self._cache = Cashews()
        # Values are bytes made by msgspec: the null pickler keeps pickle away from network data.
        self._cache.setup(
            f"redis://{settings.host}:{settings.port}/{settings.database}?protocol=2",
            client_side=True,
            client_side_prefix="auth-app:",
            pickle_type="null",
            **settings.login(),
        )

    async def open(self) -> None:
        try:
            await self._open()
        except (RedisError, OSError):
            self._opening = asyncio.create_task(self._open_later())

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._cache.close()

    async def get(self, key: str) -> bytes | None:
        return await self._cache.get(key) if self._cache.is_init else None

    async def set(self, key: str, value: bytes, life_s: float) -> None:
        if self._cache.is_init:
            await self._cache.set(key, value, expire=max(1, int(life_s)))

    async def delete(self, key: str) -> None:
        if self._cache.is_init:
            await self._cache.delete(key)

    async def _open(self) -> None:
        # cashews tries only once to listen, so Valkey is to be there when it does.
        await self._valkey.ping()
        await self._cache.init()

    async def _open_later(self) -> None:
        while not self._cache.is_init:
            await asyncio.sleep(RETRY_S)
            with suppress(RedisError, OSError):
                await self._open()
