"""What the command line does to PostgreSQL and Valkey.

Plain SQL over asyncpg: ``prepare`` runs before every measured session, and the ORM alone would take
longer to import than all of its work takes.
"""

import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from uuid_utils.compat import uuid7

from auth_app.db.revocations import OUTDATE_USER
from auth_app.errors import AuthAppError, unusable
from auth_app.revocations import News, announce
from auth_app.roles import APPLICATION_ACCESS, ROLES
from auth_app.settings import Cache, Database, Settings
from auth_app.variants import Levers
from auth_app.wiring import build_hasher, build_tokens, build_valkey

LOCK_TIMEOUT_MS = 10_000


class SeededUser(msgspec.Struct, frozen=True):
    """A user as ``prepare`` prints it."""

    email: str
    password: str
    access_token: str


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str | None
    email: str
    password_hash: str


async def seed_roles(settings: Settings) -> bool:
    """Insert the roles that are missing; return whether there was any."""
    async with _database(settings.database) as connection:
        return await _insert_roles(connection)


async def create_user(
    settings: Settings, levers: Levers, *, email: str, name: str | None, password: str
) -> NewUser:
    user = NewUser(
        id=uuid7(),
        name=name,
        email=email.lower(),
        password_hash=build_hasher(levers).hash(password),
    )
    async with _database(settings.database) as connection:
        await _insert_users(connection, [user])
    return user


async def deactivate_user(settings: Settings, email: str) -> bool:
    """Switch a user off and end all tokens; return whether the user was active."""
    async with _database(settings.database) as connection, _valkey(settings.cache) as valkey:
        user_id = await _user_id(connection, email)
        until = time.time() + settings.tokens.access_s
        async with connection.transaction():
            was_active: Any = await connection.fetchval(
                "SELECT is_active FROM user_account WHERE id = $1 FOR UPDATE", user_id
            )
            await connection.execute(
                "UPDATE user_account"
                " SET is_active = false, updated_at = now(), token_version = token_version + 1 WHERE id = $1",
                user_id,
            )
            version: Any = await connection.fetchval(OUTDATE_USER, user_id, until)
        await announce(valkey, settings.cache.database, News(user_id, until, ver=version))
        return was_active


async def mint_token(settings: Settings, levers: Levers, email: str) -> str:
    """Return a new access token of an existing user."""
    async with _database(settings.database) as connection:
        user_id = await _user_id(connection, email)
        version: Any = await connection.fetchval(
            "SELECT token_version FROM user_account WHERE id = $1", user_id
        )
    return build_tokens(settings, levers).issue_access(user_id, email.lower(), time.time(), version)


async def clear(settings: Settings) -> None:
    """Empty users, exercises and Valkey's database; roles stay."""
    async with _database(settings.database) as connection:
        await _truncate(connection)
    await _flush(settings.cache)


async def prepare(settings: Settings, levers: Levers, users: int) -> list[SeededUser]:
    """Bring database and cache into the state in which every session starts."""
    tokens = build_tokens(settings, levers)
    passwords = [_password() for _ in range(users)]
    hasher = build_hasher(levers)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        hashes = pool.map(hasher.hash, passwords)
        async with _database(settings.database) as connection:
            await _truncate(connection)
            await _insert_roles(connection)
            rows = [
                NewUser(
                    id=uuid7(),
                    name=f"u{number:07d}",
                    email=f"u{number:07d}@example.com",
                    password_hash=password_hash,
                )
                for number, password_hash in enumerate(hashes, start=1)
            ]
            await _insert_users(connection, rows)
            await connection.execute("VACUUM (ANALYZE) role, user_account, exercises")
            await connection.execute("CHECKPOINT")
    await _flush(settings.cache)
    now = time.time()
    return [
        SeededUser(row.email, password, tokens.issue_access(row.id, row.email, now))
        for row, password in zip(rows, passwords, strict=True)
    ]


def _password() -> str:
    """Random, follows the policy of signup, and needs no escaping in a form."""
    return "Aa1_" + secrets.token_urlsafe(12).replace("-", "_")


async def _truncate(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        await connection.execute("TRUNCATE user_account, exercises, revocation")


async def _insert_roles(connection: asyncpg.Connection) -> bool:
    now = datetime.now(UTC)
    status = await connection.execute(
        "INSERT INTO role (id, slug, name, description, created_at, updated_at)"
        " SELECT *, $5, $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])"
        " ON CONFLICT DO NOTHING",
        [uuid7() for _ in ROLES],
        list(ROLES),
        [name for name, _ in ROLES.values()],
        [description for _, description in ROLES.values()],
        now,
    )
    return status != "INSERT 0 0"


async def _insert_users(connection: asyncpg.Connection, users: Sequence[NewUser]) -> None:
    role_id = await connection.fetchval("SELECT id FROM role WHERE slug = $1", APPLICATION_ACCESS)
    if role_id is None:
        msg = f"role {APPLICATION_ACCESS} is missing: run `auth-app seed-roles` first."
        raise AuthAppError(msg)
    await connection.execute(
        "INSERT INTO user_account"
        " (id, name, email, password, role_id, created_at, updated_at)"
        " SELECT *, $5, $6, $6"
        " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])",
        [user.id for user in users],
        [user.name for user in users],
        [user.email for user in users],
        [user.password_hash for user in users],
        role_id,
        datetime.now(UTC),
    )


async def _user_id(connection: asyncpg.Connection, email: str) -> UUID:
    user_id = await connection.fetchval("SELECT id FROM user_account WHERE email = $1", email.lower())
    if user_id is None:
        raise AuthAppError(f"there is no user {email}: make one with `auth-app create-user`.")
    return user_id


async def _flush(cache: Cache) -> None:
    async with _valkey(cache) as valkey:
        await valkey.flushdb()


@asynccontextmanager
async def _database(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Connect through PgBouncer; what goes wrong becomes one sentence."""
    try:
        connection = await asyncpg.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password(),
            database=database.name,
            statement_cache_size=0,
            timeout=10,
        )
        try:
            yield connection
        finally:
            await connection.close()
    except asyncpg.UndefinedTableError as error:
        raise AuthAppError("the database has no tables yet: run `auth-app migrate` first.") from error
    except asyncpg.UniqueViolationError as error:
        raise AuthAppError("a user with this email already exists: choose another.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise unusable(f"the database at {database.host}:{database.port}", error) from error


@asynccontextmanager
async def _valkey(cache: Cache) -> AsyncIterator[Redis]:
    valkey = build_valkey(cache)
    try:
        yield valkey
    except RedisError as error:
        raise unusable(f"Valkey at {cache.host}:{cache.port}", error) from error
    finally:
        await valkey.aclose()
