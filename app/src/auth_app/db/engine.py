"""The connection to PostgreSQL through PgBouncer."""

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from auth_app.settings import Database

CONNECT_TIMEOUT_S = 5


def create_engine(database: Database) -> AsyncEngine:
    """Engine as published: a connection for each session, nothing prepared or compiled is kept.

    PgBouncer hands a server connection on after each transaction, so a statement prepared under a
    name would meet its double there: all of them go by the unnamed one.
    """
    return create_async_engine(
        URL.create(
            "postgresql+asyncpg",
            username=database.user,
            password=database.password(),
            host=database.host,
            port=database.port,
            database=database.name,
        ),
        poolclass=NullPool,
        query_cache_size=0,
        isolation_level="READ COMMITTED",
        # Parameters hold e-mail addresses and password hashes; errors are logged.
        hide_parameters=True,
        connect_args={
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
            "timeout": CONNECT_TIMEOUT_S,
        },
    )
