"""What the variant ``final`` does for signup, signin and /me, written by hand for that alone.

No levers, no wiring, no protocols: libraries are called where they are needed. It shares tables,
schemas, claims, revocations and error answers with the app, which have no levers either.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import msgspec
from advanced_alchemy.exceptions import DuplicateKeyError
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from auth_app.db.engine import create_engine
from auth_app.db.models import Role, UserAccount, hash_passwords_with
from auth_app.db.orm import OrmAccess
from auth_app.db.users import DEFAULT_CREDENTIALS, DEFAULT_PROFILE, Queries
from auth_app.error_handlers import add_error_handlers
from auth_app.errors import INVALID_CREDENTIALS, INVALID_TOKEN, NOT_AUTHENTICATED, TOKEN_EXPIRED, ApiError
from auth_app.keys import ED25519, read_key
from auth_app.responses import StructResponse
from auth_app.revocations import Revocations
from auth_app.roles import APPLICATION_ACCESS
from auth_app.schemas.bodies_in import Signup, Text
from auth_app.schemas.struct_out import BriefUser, FullUser
from auth_app.settings import load_settings, settings_path
from auth_app.tokens.claims import AccessClaims
from cashews import Cache
from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from fastapi.responses import PlainTextResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pwdlib.hashers.argon2 import Argon2Hasher
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import joinedload, load_only, noload

USER_LIFE_S = 30 * 60
VALKEY_TIMEOUT_S = 3

settings = load_settings(settings_path())
key = OKPKey.import_key(read_key(Path(settings.keys.directory), ED25519))
engine = create_engine(settings.database, settings.limits)
sessions = async_sessionmaker(engine, expire_on_commit=False)
valkey = Redis(
    host=settings.cache.host,
    port=settings.cache.port,
    db=settings.cache.database,
    **settings.cache.login(),
    protocol=2,
    socket_timeout=VALKEY_TIMEOUT_S,
    socket_connect_timeout=VALKEY_TIMEOUT_S,
)
queries = Queries(credentials=DEFAULT_CREDENTIALS, profile=DEFAULT_PROFILE, refresh_after_insert=False)
revocations = Revocations(valkey, settings.cache.database, OrmAccess(engine, queries))
cache = Cache()
hasher = Argon2Hasher(time_cost=3, memory_cost=65_536, parallelism=1)
nobody = hasher.hash(secrets.token_urlsafe())
threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
claims_decoder = msgspec.msgpack.Decoder(AccessClaims)
user_decoder = msgspec.msgpack.Decoder(BriefUser)
router = APIRouter(prefix="/api/v1/access", default_response_class=StructResponse)

LOAD_CREDENTIALS = (
    noload(UserAccount.role),
    load_only(UserAccount.id, UserAccount.email, UserAccount.is_active, UserAccount.password),
)
LOAD_PROFILE = (
    load_only(
        UserAccount.id,
        UserAccount.name,
        UserAccount.email,
        UserAccount.is_active,
        UserAccount.is_superuser,
    ),
    joinedload(UserAccount.role).load_only(Role.slug),
)


class UserService(SQLAlchemyAsyncRepositoryService[UserAccount]):
    class Repository(SQLAlchemyAsyncRepository[UserAccount]):
        model_type = UserAccount

    repository_type = Repository


async def get_users() -> AsyncIterator[UserService]:
    async with sessions() as session:
        yield UserService(session=session)


Users = Annotated[UserService, Depends(get_users)]


async def get_claims(request: Request) -> AccessClaims:
    token = request.cookies.get("access_token")
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    cache_key = f"token:{hashlib.sha256(token.encode()).hexdigest()}"
    cached = await cache.get(cache_key)
    if cached is not None:
        claims = claims_decoder.decode(cached)
        if claims.exp <= time.time():
            raise ApiError(401, TOKEN_EXPIRED)
    else:
        claims = read_token(token)
        await cache.set(cache_key, msgspec.msgpack.encode(claims), max(1, int(claims.exp - time.time())))
    await revocations.check(claims)
    return claims


async def get_current_user(claims: Annotated[AccessClaims, Depends(get_claims)], users: Users) -> BriefUser:
    cache_key = f"user_auth:{claims.sub}"
    cached = await cache.get(cache_key)
    if cached is not None:
        user = user_decoder.decode(cached)
    else:
        row = await users.get_one_or_none(UserAccount.id == claims.sub, load=LOAD_PROFILE)
        if row is None:
            raise ApiError(401, INVALID_TOKEN)
        user = BriefUser.from_row(row)
        await cache.set(cache_key, msgspec.msgpack.encode(user), USER_LIFE_S)
    if not user.is_active:
        raise ApiError(401, INVALID_TOKEN)
    return user


@router.post("/signup", response_model=None)
async def signup(body: Signup, users: Users) -> StructResponse:
    password = await asyncio.get_running_loop().run_in_executor(threads, hasher.hash, body.password)
    session = users.repository.session
    assert isinstance(session, AsyncSession)
    role = await session.scalar(select(Role).where(Role.slug == APPLICATION_ACCESS))
    if role is None:
        raise ApiError(503, f"Role {APPLICATION_ACCESS} is missing: run `auth-app seed-roles`")
    new = UserAccount(email=body.email, name=body.name, password=password, role=role)
    try:
        user = await users.create(new, auto_commit=True, auto_refresh=False)
    except DuplicateKeyError as error:
        raise ApiError(409, "A user with this email already exists") from error
    return StructResponse(FullUser.from_row(user), status_code=201)


@router.post("/signin", status_code=204)
async def signin(
    username: Annotated[Text, Form()], password: Annotated[str, Form()], users: Users
) -> Response:
    issued_at = time.time()
    user = await users.get_one_or_none(UserAccount.email == username.lower(), load=LOAD_CREDENTIALS)
    stored = nobody if user is None else user.password_hash
    right = await asyncio.get_running_loop().run_in_executor(threads, hasher.verify, password, stored)
    if user is None or not right or not user.is_active:
        raise ApiError(401, INVALID_CREDENTIALS)
    response = Response(status_code=204)
    access = make_token(user.id, issued_at, settings.tokens.access_s, type="access", email=user.email)
    refresh = make_token(user.id, issued_at, settings.tokens.refresh_s, type="refresh")
    set_cookie(response, "access_token", access, settings.tokens.access_s, "lax")
    set_cookie(response, "refresh_token", refresh, settings.tokens.refresh_s, "strict")
    return response


@router.get("/me", response_model=None)
async def me(user: Annotated[BriefUser, Depends(get_current_user)]) -> StructResponse:
    return StructResponse(user)


async def ping() -> PlainTextResponse:
    return PlainTextResponse(b"OK")


def make_token(user_id: UUID, issued_at: float, life_s: int, **more: str) -> str:
    times = {"iat": issued_at, "exp": issued_at + life_s}
    claims: dict[str, Any] = {"sub": str(user_id), **times, "jti": str(uuid4()), **more}
    return jwt.encode({"alg": "Ed25519"}, claims, key, algorithms=["Ed25519"])


def read_token(token: str) -> AccessClaims:
    try:
        payload = jwt.decode(token, key, algorithms=["Ed25519"]).claims
        claims = msgspec.convert(payload, AccessClaims)
    except (JoseError, ValueError, TypeError) as error:
        raise ApiError(401, INVALID_TOKEN) from error
    now = time.time()
    if claims.exp <= now:
        raise ApiError(401, TOKEN_EXPIRED)
    if claims.iat > now:
        raise ApiError(401, INVALID_TOKEN)
    return claims


def set_cookie(
    response: Response, name: str, value: str, life_s: int, same_site: Literal["lax", "strict"]
) -> None:
    secure = settings.tokens.cookie_secure
    response.set_cookie(
        name, value, max_age=life_s, path="/", secure=secure, httponly=True, samesite=same_site
    )


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    hash_passwords_with(None)
    cache.setup(
        f"redis://{settings.cache.host}:{settings.cache.port}/{settings.cache.database}?protocol=2",
        client_side=True,
        client_side_prefix="auth-app:",
        pickle_type="null",
        **settings.cache.login(),
    )
    await cache.init()
    await revocations.open()
    yield
    await revocations.close()
    await cache.close()
    await valkey.aclose()
    await engine.dispose()


def create_app() -> FastAPI:
    app = FastAPI(title="final by hand", lifespan=lifespan)
    app.include_router(router)
    app.add_api_route("/ping", ping)
    add_error_handlers(app)
    return app
