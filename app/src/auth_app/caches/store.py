"""Bytes by key in Valkey, with a copy in each worker (cashews, client_side)."""

from typing import Protocol

from cashews import Cache as Cashews

from auth_app.settings import Cache


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

    def __init__(self, settings: Cache) -> None:
        self._cache = Cashews()
        # Values are bytes made by msgspec: the null pickler keeps pickle away from network data.
        self._cache.setup(
            f"redis://{settings.host}:{settings.port}/{settings.database}?protocol=2",
            client_side=True,
            client_side_prefix="auth-app:",
            pickle_type="null",
        )

    async def open(self) -> None:
        await self._cache.init()

    async def close(self) -> None:
        await self._cache.close()

    async def get(self, key: str) -> bytes | None:
        return await self._cache.get(key)

    async def set(self, key: str, value: bytes, life_s: float) -> None:
        await self._cache.set(key, value, expire=max(1, int(life_s)))

    async def delete(self, key: str) -> None:
        await self._cache.delete(key)
