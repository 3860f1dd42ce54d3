"""What the handlers of a request work with."""

from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from auth_app.caches.store import Store
from auth_app.caches.users import UserCache
from auth_app.db.users import Queries
from auth_app.passwords import Passwords
from auth_app.revocations import Revocations
from auth_app.settings import Settings
from auth_app.tokens.readers import AccessReader
from auth_app.tokens.service import Tokens


@dataclass(frozen=True, kw_only=True)
class Services:
    """Lives as long as the application."""

    settings: Settings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    valkey: Redis
    store: Store
    tokens: Tokens
    access_reader: AccessReader
    revocations: Revocations
    passwords: Passwords
    users: UserCache
    queries: Queries

    async def open(self) -> None:
        await self.store.open()
        await self.revocations.open()

    async def close(self) -> None:
        await self.revocations.close()
        await self.store.close()
        await self.valkey.aclose()
        await self.engine.dispose()
