"""Access by SQLAlchemy's ORM."""

from types import TracebackType

from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from auth_app.db.outages import raise_outage
from auth_app.db.users import Queries, UserService

_EXHAUSTED = (PoolTimeoutError,)


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

    def users(self) -> "UserSession":
        return UserSession(self._sessions(), self._queries)

    async def ping(self) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


class UserSession:
    """Users in one session. A class, which every request enters at a fraction of a generator's cost."""

    def __init__(self, session: AsyncSession, queries: Queries) -> None:
        self._session = session
        self._queries = queries

    async def __aenter__(self) -> UserService:
        return UserService(self._session, self._queries)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._session.__aexit__(kind, error, traceback)
        except Exception as failed:
            raise_outage(failed, exhausted=_EXHAUSTED)
            raise
        raise_outage(error, exhausted=_EXHAUSTED)
