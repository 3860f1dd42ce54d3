"""Turns settings and levers into the objects that serve requests.

The only place that looks at a lever: everything is chosen here, once, at start-up. A new lever is a
field of ``Levers`` and a choice in one of these functions.
"""

# ruff: noqa: PLC0415  Each choice imports what it chose: the command line needs only two of them, and
# a worker should not carry the libraries of another variant.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import ValidationError, convert, to_builtins

from auth_app.errors import AuthAppError
from auth_app.keys import ED25519, RSA, read_key
from auth_app.variants import Levers

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import APIRouter, FastAPI
    from pwdlib.hashers.argon2 import Argon2Hasher
    from redis.asyncio import Redis

    from auth_app.caches.formats import Format
    from auth_app.caches.store import Store
    from auth_app.caches.users import UserCache
    from auth_app.db.access import DataAccess
    from auth_app.passwords import Passwords
    from auth_app.revocations import Revocations
    from auth_app.servers import Listener
    from auth_app.services import Services
    from auth_app.settings import Cache, Limits, Settings
    from auth_app.tokens.checks import Check
    from auth_app.tokens.codecs import Codec
    from auth_app.tokens.readers import AccessReader
    from auth_app.tokens.service import Tokens

TIME_COST = 3
MEMORY_COST_KIB = 65_536
"""Argon2's cost, the same in all variants: the library's defaults, as published."""

VALKEY_TIMEOUT_S = 3
"""Longer than one blocking read of the revocations."""

FULL = 9
"""Fields of the longer body of /me."""

DEFAULT_THREADS = Levers().hashing_threads

CONFLICTS: tuple[tuple[Callable[[Levers], bool], str], ...] = (
    (
        lambda it: it.data_access == "sql" and it.database_pool == "none",
        "data_access=sql asks through a pool that stays: set database_pool=persistent",
    ),
    (
        lambda it: it.data_access == "sql" and it.hashing == "inline",
        "data_access=sql has not the ORM's column type, which hashes inline: set hashing=thread-pool",
    ),
    (
        lambda it: it.data_access == "sql" and it.refresh_after_insert,
        "data_access=sql inserts and reads in one statement: set refresh_after_insert=False",
    ),
    (
        lambda it: it.data_access == "sql" and "selectin" in (it.signin_query, it.me_query),
        "data_access=sql reads only what it needs: set both signin_query and me_query to load-only",
    ),
    (
        lambda it: it.data_access == "sql" and it.compiled_cache,
        "data_access=sql compiles nothing that could be kept: set compiled_cache=False",
    ),
    (
        lambda it: it.hashing == "inline" and it.hashing_threads != DEFAULT_THREADS,
        f"hashing=inline has no threads: set hashing=thread-pool or hashing_threads={DEFAULT_THREADS}",
    ),
    (
        lambda it: it.me_handler == "direct" and it.response != "msgspec",
        "me_handler=direct writes its response itself: set response=msgspec",
    ),
)
"""Levers that exclude each other: when, and what is wrong and how to mend it."""


def refuse_conflicts(levers: Levers) -> None:
    """``AuthAppError`` for values that no lever has and for combinations that make no sense."""
    try:
        convert(to_builtins(levers), Levers)
    except ValidationError as error:
        msg = f"a lever has a value that does not exist, choose one from variants.py: {error}."
        raise AuthAppError(msg) from error
    for applies, sentence in CONFLICTS:
        if applies(levers):
            raise AuthAppError(f"{sentence}.")


def check(settings: Settings, levers: Levers) -> None:
    """``AuthAppError`` when settings, keys and levers would not serve."""
    refuse_conflicts(levers)
    build_tokens(settings, levers)
    settings.cache.login()


def build_services(settings: Settings, levers: Levers) -> Services:
    from auth_app.revocations import Revocations
    from auth_app.services import Services

    refuse_conflicts(levers)
    tokens = build_tokens(settings, levers)
    valkey = build_valkey(settings.cache)
    store = _store(settings.cache, levers, valkey)
    data = _data_access(settings, levers)
    revocations = Revocations(valkey, settings.cache.database, data)
    return Services(
        settings=settings,
        data=data,
        valkey=valkey,
        store=store,
        tokens=tokens,
        access_reader=_access_reader(levers, tokens, store),
        revocations=revocations,
        passwords=_passwords(settings.limits, levers),
        user_cache=_user_cache(levers, valkey, store, revocations),
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

    from auth_app.kept_memory import KeptMemoryHasher

    kind = KeptMemoryHasher if levers.argon2_memory == "kept" else Argon2Hasher
    return kind(time_cost=TIME_COST, memory_cost=MEMORY_COST_KIB, parallelism=levers.argon2_lanes)


def profile_router(levers: Levers) -> APIRouter:
    """Choose the routes with a body: FastAPI fixes a response model when a route is registered."""
    from fastapi import APIRouter

    router = APIRouter()
    if levers.response == "msgspec":
        from auth_app.routes import me_direct, profile_struct

        router.include_router(profile_struct.signup_router)
        router.include_router(me_direct.router if levers.me_handler == "direct" else profile_struct.me_router)
        return router

    from auth_app.responses import EncodedResponse
    from auth_app.routes.profile_pydantic import add_routes

    if levers.response == "jsonable-encoder":
        router = APIRouter(default_response_class=EncodedResponse)
    return add_routes(router, _me_body(levers))


def add_middlewares(app: FastAPI, levers: Levers) -> None:
    """Wrap the application; what is added last is outermost, so a request has its id when it is logged."""
    if levers.logging:
        from auth_app.request_log import StructLogMiddleware

        app.add_middleware(StructLogMiddleware)
    if levers.correlation_id:
        from asgi_correlation_id import CorrelationIdMiddleware

        app.add_middleware(CorrelationIdMiddleware)


def watch_event_loop(levers: Levers) -> None:
    """Called in the running loop of a worker."""
    if levers.asyncio_debug:
        from auth_app.slow_callbacks import report_slow_callbacks

        report_slow_callbacks()


def server_command(listener: Listener, levers: Levers) -> list[str]:
    """Command line of the server that runs the application."""
    from auth_app import servers

    return servers.granian(listener) if levers.server == "granian" else servers.uvicorn(listener)


def _codec(levers: Levers, keys: Path) -> Codec:
    from auth_app.tokens.codecs import JoserfcEd25519, PyJwtRs256

    if levers.tokens == "joserfc-ed25519":
        return JoserfcEd25519(read_key(keys, ED25519))
    return PyJwtRs256(
        read_key(keys, RSA),
        load_key_once=levers.tokens == "pyjwt-rs256-key",
        check_claims=levers.claims_check == "library",
    )


def _claims_check(levers: Levers) -> Check:
    from auth_app.tokens.checks import claims_registry, done_by_codec, manual

    if levers.claims_check == "manual":
        return manual
    return claims_registry() if levers.tokens == "joserfc-ed25519" else done_by_codec


def _access_reader(levers: Levers, tokens: Tokens, store: Store) -> AccessReader:
    from auth_app.tokens import readers

    match levers.token_cache:
        case "in-process":
            return readers.InProcessReader(tokens)
        case "cashews-client-side":
            return readers.RememberingReader(tokens, store)
        case _:
            return readers.VerifyingReader(tokens)


def _passwords(limits: Limits, levers: Levers) -> Passwords:
    from auth_app.passwords import InlinePasswords, PooledPasswords

    hasher = build_hasher(levers)
    if levers.hashing == "inline":
        return InlinePasswords(hasher)
    return PooledPasswords(hasher, levers.hashing_threads, limits.hashing_queue)


def build_valkey(cache: Cache) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis(
        # Its own retries would let a worker take silence for news that many times longer.
        retry=Retry(NoBackoff(), 0),
        host=cache.host,
        port=cache.port,
        db=cache.database,
        **cache.login(),
        protocol=2,
        socket_timeout=VALKEY_TIMEOUT_S,
        socket_connect_timeout=VALKEY_TIMEOUT_S,
    )


def _store(cache: Cache, levers: Levers, valkey: Redis) -> Store:
    from auth_app.caches.store import CashewsStore, NoStore

    used = "cashews-client-side" in (levers.token_cache, levers.user_cache)
    return CashewsStore(cache, valkey) if used else NoStore()


def _user_cache(levers: Levers, valkey: Redis, store: Store, revocations: Revocations) -> UserCache:
    from auth_app.caches import users

    form = _format(levers)
    if levers.user_cache == "fastapi-cache2":
        from auth_app.caches.fastapi_cache2 import FastapiCache2Users

        return FastapiCache2Users(valkey, form)
    if levers.user_cache == "cashews-client-side":
        return users.CashewsUsers(store, form)
    if levers.user_cache == "in-process":
        return users.InProcessUsers(form, revocations)
    return users.NoUserCache(form)


def _format(levers: Levers) -> Format[Any]:
    from auth_app.caches.formats import PydanticFormat, StructFormat

    body = _me_body(levers)
    return StructFormat(body) if levers.response == "msgspec" else PydanticFormat(body)


def _me_body(levers: Levers) -> Any:
    """Type of the body of /me."""
    from auth_app.schemas import pydantic_out, struct_out

    bodies = struct_out if levers.response == "msgspec" else pydantic_out
    return bodies.FullUser if levers.me_fields == FULL else bodies.BriefUser


def _me_columns(levers: Levers) -> tuple[str, ...]:
    """Names of the fields in the body of /me, which are those of columns too."""
    from auth_app.schemas import struct_out

    body = struct_out.FullUser if levers.me_fields == FULL else struct_out.BriefUser
    return body.__struct_fields__


def _data_access(settings: Settings, levers: Levers) -> DataAccess:
    if levers.data_access == "sql":
        from auth_app.db.sql import SqlAccess

        return SqlAccess(settings.database, settings.limits, _me_columns(levers))

    from auth_app.db import users
    from auth_app.db.engine import create_engine
    from auth_app.db.models import hash_passwords_with
    from auth_app.db.orm import OrmAccess

    hash_passwords_with(build_hasher(levers) if levers.hashing == "inline" else None)
    engine = create_engine(
        settings.database,
        settings.limits,
        persistent=levers.database_pool == "persistent",
        compiled_cache=levers.compiled_cache,
    )
    less_credentials = levers.signin_query == "noload-load-only"
    less_profile = levers.me_query == "joinedload-load-only"
    queries = users.Queries(
        credentials=users.MINIMAL_CREDENTIALS if less_credentials else users.DEFAULT_CREDENTIALS,
        profile=users.minimal_profile(_me_columns(levers)) if less_profile else users.DEFAULT_PROFILE,
        refresh_after_insert=levers.refresh_after_insert,
    )
    return OrmAccess(engine, queries)
