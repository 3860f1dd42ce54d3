"""Access by SQLAlchemy's ORM."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from auth_app.db.outages import outages_as_os_errors
from auth_app.db.users import Queries, UserService


class OrmAccess:
    """A session and a service for each request; the session connects when it is asked something."""

    def __init__(self, engine: AsyncEngine, queries: Queries) -> None:
        self._engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._queries = queries

    async def open(self) -> None:
        """The engine connects by itself."""

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def users(self) -> AsyncIterator[UserService]:
        with outages_as_os_errors():
            async with self._sessions() as session:
                yield UserService(session, self._queries)

    async def ping(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
