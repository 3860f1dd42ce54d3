"""Turns settings and levers into the objects that serve requests.

The only place that looks at a lever: everything is chosen here, once, at start-up. A new lever is a
field of ``Levers`` and a choice in one of these functions.
"""

# ruff: noqa: PLC0415  Each choice imports what it chose: the command line needs only two of them, and
# a worker should not carry the libraries of another variant.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from auth_app.keys import ED25519, RSA, read_key

if TYPE_CHECKING:
    from fastapi import APIRouter
    from pwdlib.hashers.argon2 import Argon2Hasher
    from redis.asyncio import Redis

    from auth_app.caches.store import Store
    from auth_app.caches.users import Format, UserCache
    from auth_app.db.users import Queries
    from auth_app.passwords import Passwords
    from auth_app.services import Services
    from auth_app.settings import Cache, Settings
    from auth_app.tokens.checks import Check
    from auth_app.tokens.codecs import Codec
    from auth_app.tokens.readers import AccessReader
    from auth_app.tokens.service import Tokens
    from auth_app.variants import Levers

TIME_COST = 3
MEMORY_COST_KIB = 65_536
"""Argon2's cost, the same in all variants: the library's defaults, as published."""

VALKEY_TIMEOUT_S = 3
"""Longer than one blocking read of the revocations."""


def build_services(settings: Settings, levers: Levers) -> Services:
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from auth_app.db.engine import create_engine
    from auth_app.db.models import hash_passwords_with
    from auth_app.revocations import Revocations
    from auth_app.services import Services

    tokens = build_tokens(settings, levers)
    passwords = _passwords(levers)
    hash_passwords_with(passwords.column_backend)
    engine = create_engine(settings.database)
    valkey = build_valkey(settings.cache)
    store = _store(settings.cache, levers)
    return Services(
        settings=settings,
        engine=engine,
        sessions=async_sessionmaker(engine, expire_on_commit=False),
        valkey=valkey,
        store=store,
        tokens=tokens,
        access_reader=_access_reader(levers, tokens, store),
        revocations=Revocations(valkey, access_s=tokens.access_s, refresh_s=tokens.refresh_s),
        passwords=passwords,
        users=_user_cache(levers, valkey, store),
        queries=_queries(levers),
    )


def build_tokens(settings: Settings, levers: Levers) -> Tokens:
    from auth_app.tokens.service import Tokens

    keys = Path(settings.keys.directory)
    lives = settings.tokens
    return Tokens(
        _codec(levers, keys), _claims_check(levers), access_s=lives.access_s, refresh_s=lives.refresh_s
    )


def build_hasher(levers: Levers) -> Argon2Hasher:
    from pwdlib.hashers.argon2 import Argon2Hasher

    return Argon2Hasher(time_cost=TIME_COST, memory_cost=MEMORY_COST_KIB, parallelism=levers.argon2_lanes)


def profile_router(levers: Levers) -> APIRouter:
    """Choose the routes with a body: FastAPI fixes a response model when a route is registered."""
    if levers.responses == "pydantic":
        from auth_app.routes.profile_pydantic import router
    else:
        from auth_app.routes.profile_struct import router
    return router


def _codec(levers: Levers, keys: Path) -> Codec:
    from auth_app.tokens.codecs import JoserfcEd25519, PyJwtRs256

    if levers.tokens == "pyjwt-rs256":
        return PyJwtRs256(read_key(keys, RSA))
    return JoserfcEd25519(read_key(keys, ED25519))


def _claims_check(levers: Levers) -> Check:
    from auth_app.tokens.checks import claims_registry, done_by_codec, manual

    if levers.claims_check == "manual":
        return manual
    return done_by_codec if levers.tokens == "pyjwt-rs256" else claims_registry()


def _access_reader(levers: Levers, tokens: Tokens, store: Store) -> AccessReader:
    from auth_app.tokens.readers import RememberingReader, VerifyingReader

    return RememberingReader(tokens, store) if levers.token_cache else VerifyingReader(tokens)


def _passwords(levers: Levers) -> Passwords:
    from auth_app.passwords import InlinePasswords, PooledPasswords

    hasher = build_hasher(levers)
    return InlinePasswords(hasher) if levers.hashing == "inline" else PooledPasswords(hasher)


def build_valkey(cache: Cache) -> Redis:
    from redis.asyncio import Redis

    return Redis(
        host=cache.host,
        port=cache.port,
        db=cache.database,
        protocol=2,
        socket_timeout=VALKEY_TIMEOUT_S,
        socket_connect_timeout=VALKEY_TIMEOUT_S,
    )


def _store(cache: Cache, levers: Levers) -> Store:
    from auth_app.caches.store import CashewsStore, NoStore

    used = levers.token_cache or levers.user_cache == "cashews-client-side"
    return CashewsStore(cache) if used else NoStore()


def _user_cache(levers: Levers, valkey: Redis, store: Store) -> UserCache:
    from auth_app.caches.users import CashewsUsers, FastapiCache2Users

    form = _format(levers)
    if levers.user_cache == "fastapi-cache2":
        return FastapiCache2Users(valkey, form)
    return CashewsUsers(store, form)


def _format(levers: Levers) -> Format:
    from auth_app.caches.users import PydanticFormat, StructFormat

    return PydanticFormat() if levers.responses == "pydantic" else StructFormat()


def _queries(levers: Levers) -> Queries:
    from auth_app.db import users

    minimal = levers.queries == "minimal"
    return users.Queries(
        credentials=users.MINIMAL_CREDENTIALS if minimal else users.DEFAULT_CREDENTIALS,
        profile=users.MINIMAL_PROFILE if minimal else users.DEFAULT_PROFILE,
        refresh_after_insert=levers.refresh_after_insert,
    )
