"""The ORM's connections to PostgreSQL through PgBouncer."""

from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from auth_app.db.limits import CONNECT_TIMEOUT_S, IDLE_S, POOL_SIZE
from auth_app.settings import Database, Limits

SQL_KEPT = 500
"""Statements in the compiled cache: SQLAlchemy's default."""

UNNAMED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
"""PgBouncer hands a server connection on after each transaction. If it does not follow prepared
statements, one that was prepared under a name would meet its double there: all go by the unnamed one."""


def create_engine(
    database: Database,
    limits: Limits | None = None,
    *,
    persistent: bool = False,
    compiled_cache: bool = False,
) -> AsyncEngine:
    """Make the engine; by default as published.

    That is a connection for each session, with nothing prepared or compiled kept. Persistent
    connections keep prepared statements where the settings say that PgBouncer follows them. Without
    limits a statement may take its time, as a migration does.
    """
    named = persistent and database.prepared_statements
    arguments: dict[str, Any] = {"timeout": CONNECT_TIMEOUT_S}
    pool: dict[str, Any] = {"poolclass": NullPool}
    if persistent:
        pool = {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_recycle": IDLE_S}
    if limits is not None:
        arguments["command_timeout"] = limits.statement_s
        if persistent:
            pool["pool_timeout"] = limits.pool_wait_s
    engine = create_async_engine(
        URL.create(
            "postgresql+asyncpg",
            username=database.user,
            password=database.password(),
            host=database.host,
            port=database.port,
            database=database.name,
        ),
        query_cache_size=SQL_KEPT if compiled_cache else 0,
        isolation_level="READ COMMITTED",
        # Parameters hold e-mail addresses and password hashes; errors are logged.
        hide_parameters=True,
        connect_args=arguments if named else arguments | UNNAMED,
        **pool,
    )
    if persistent:
        event.listen(engine.sync_engine, "checkout", _replace_if_closed)
    return engine


def _replace_if_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool connect anew when PgBouncer has hung up, without a question to find out."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
