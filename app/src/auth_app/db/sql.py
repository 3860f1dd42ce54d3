"""Access by plain SQL on asyncpg's own pool: one statement for each task."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from auth_app.db import revocations
from auth_app.db.access import allowed_in, columns_of, email_taken, role_missing, still_there
from auth_app.db.limits import CONNECT_TIMEOUT_S, IDLE_S, POOL_SIZE
from auth_app.db.outages import raise_outage
from auth_app.errors import busy
from auth_app.roles import APPLICATION_ACCESS
from auth_app.settings import Database, Limits
from auth_app.tokens.claims import AccessClaims, Claims, RefreshClaims

_ADD = """
INSERT INTO user_account (id, email, name, password, role_id, created_at, updated_at)
SELECT $1, $2, $3, $4, role.id, $5, $5 FROM role WHERE slug = $6
RETURNING id, email, name, is_active, is_superuser, created_at, updated_at,
    $6 AS role_slug, (SELECT role.name FROM role WHERE role.id = role_id) AS role_name
"""
_CREDENTIALS = (
    "SELECT id, email, is_active, token_version, password AS password_hash FROM user_account WHERE "
)
_BY_EMAIL = _CREDENTIALS + "email = $1"
_BY_ID = _CREDENTIALS + "id = $1"
_SET_PASSWORD = """
UPDATE user_account SET password = $2, updated_at = $3, token_version = token_version + 1 WHERE id = $1
"""  # noqa: S105  (SQL)

STATEMENTS_KEPT = 100
"""Prepared statements that a connection keeps: asyncpg's default, more than there are."""


class Row(asyncpg.Record):
    """Columns as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class SqlAccess:
    """Persistent connections.

    Where PgBouncer follows prepared statements, each statement is prepared once for a connection and
    commits by itself. Elsewhere it goes unnamed, and in a transaction: PgBouncer could otherwise hand
    the server connection on between parsing and execution.
    """

    def __init__(self, database: Database, limits: Limits, profile_fields: Iterable[str]) -> None:
        self._database = database
        self._limits = limits
        self._profile = profile_statement(profile_fields)
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        database = self._database
        self._pool = await asyncpg.create_pool(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password(),
            database=database.name,
            timeout=CONNECT_TIMEOUT_S,
            min_size=0,
            max_size=POOL_SIZE,
            max_inactive_connection_lifetime=IDLE_S,
            record_class=Row,
            reset=_nothing_to_reset,
            command_timeout=self._limits.statement_s,
            statement_cache_size=STATEMENTS_KEPT if database.prepared_statements else 0,
        )

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def users(self) -> AsyncIterator["SqlUsers"]:
        try:
            yield SqlUsers(self)
        except Exception as error:
            raise_outage(error)
            raise

    async def ping(self) -> None:
        await self.row("SELECT 1")

    async def profile(self, user_id: UUID) -> Row | None:
        return await self.row(self._profile, user_id)

    async def row(self, statement: str, *arguments: Any) -> Row | None:
        """Execute a statement; its first row."""
        async with self._connection() as connection:
            if self._database.prepared_statements:
                return await connection.fetchrow(statement, *arguments)
            async with connection.transaction():
                return await connection.fetchrow(statement, *arguments)

    async def rows(self, *calls: tuple[Any, ...]) -> Sequence[Row]:
        """Execute statements with their arguments in one transaction; all rows of the last."""
        rows: Sequence[Row] = []
        async with self._connection() as connection, connection.transaction():
            for statement, *arguments in calls:
                rows = await connection.fetch(statement, *arguments)
        return rows

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        assert self._pool is not None, "SqlAccess.open was not called"
        try:
            # Not acquire's own timeout, which makes a task of each question.
            async with asyncio.timeout(self._limits.pool_wait_s):
                connection = await self._pool.acquire()
        except TimeoutError as error:
            raise busy() from error
        try:
            yield connection
        finally:
            await self._pool.release(connection)


class SqlUsers:
    """``Users`` in plain SQL."""

    def __init__(self, access: SqlAccess) -> None:
        self._access = access

    async def add(self, *, email: str, name: str | None, password: str) -> Row:
        now = datetime.now(UTC)
        try:
            row = await self._access.row(_ADD, uuid7(), email, name, password, now, APPLICATION_ACCESS)
        except asyncpg.UniqueViolationError as error:
            raise email_taken() from error
        if row is None:
            raise role_missing()
        return row

    async def credentials(self, *, email: str) -> Row | None:
        return await self._access.row(_BY_EMAIL, email)

    async def credentials_of(self, claims: Claims) -> Row:
        return allowed_in(await self._access.row(_BY_ID, claims.sub), claims)

    async def profile(self, user_id: UUID) -> Row:
        return still_there(await self._access.profile(user_id))

    async def set_password(self, user: Row, password: str, until: float) -> int:
        rows = await self._access.rows(
            (_SET_PASSWORD, user.id, password, datetime.now(UTC)),
            (revocations.OUTDATE_USER, user.id, until),
        )
        return still_there(rows[0] if rows else None).version

    async def end(self, *tokens: AccessClaims | RefreshClaims) -> int:
        return len(await self._access.rows((revocations.END_TOKENS, *columns_of(tokens))))

    async def is_live(self, claims: Claims) -> bool:
        return await self._access.row(revocations.IS_LIVE, claims.sub, claims.ver, claims.jti) is not None

    async def revocations(self, after: int, since: float) -> Sequence[Row]:
        return await self._access.rows((revocations.IN_MEMORY, after, since))


def profile_statement(fields: Iterable[str]) -> str:
    """SELECT of a user's own columns and, for fields that begin with ``role_``, of the role's."""
    columns = ", ".join(
        f"role.{field.removeprefix('role_')} AS {field}" if field.startswith("role_") else f"u.{field}"
        for field in fields
    )
    return f"SELECT {columns} FROM user_account AS u JOIN role ON role.id = u.role_id WHERE u.id = $1"  # noqa: S608  (names of our own)


async def _nothing_to_reset(_: object) -> None:
    """Leave out asyncpg's clean-up, a question for each request: no statement here leaves state behind."""
