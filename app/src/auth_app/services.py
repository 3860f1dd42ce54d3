"""What the handlers of a request work with."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from auth_app.caches.store import Store
from auth_app.caches.users import UserCache
from auth_app.db.access import DataAccess
from auth_app.passwords import Passwords
from auth_app.revocations import Revocations
from auth_app.settings import Settings
from auth_app.tokens.readers import AccessReader
from auth_app.tokens.service import Tokens


@dataclass(frozen=True, kw_only=True)
class Services:
    """Lives as long as the application."""

    settings: Settings
    data: DataAccess
    valkey: Redis
    store: Store
    tokens: Tokens
    access_reader: AccessReader
    revocations: Revocations
    passwords: Passwords
    user_cache: UserCache

    async def open(self) -> None:
        await self.data.open()
        await self.store.open()
        await self.revocations.open()

    async def close(self) -> None:
        await self.revocations.close()
        await self.store.close()
        await self.valkey.aclose()
        await self.data.close()

    async def load_profile(self, user_id: UUID) -> Any:
        """Row of a user, for handlers that need the database for nothing else."""
        async with self.data.users() as users:
            return await users.profile(user_id)
