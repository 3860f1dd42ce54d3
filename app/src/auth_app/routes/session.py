"""signin, refresh, logout and password: no bodies, only cookies."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from auth_app.cookies import ACCESS, REFRESH, clear_tokens, set_tokens
from auth_app.dependencies import AccessClaimsDep, RefreshClaimsDep, ServicesDep, UsersDep
from auth_app.errors import INVALID_CREDENTIALS, INVALID_TOKEN, NOT_AUTHENTICATED, ApiError
from auth_app.routes.bodies import BodyRoute
from auth_app.schemas.bodies_in import Password, PasswordChange, Text
from auth_app.tokens.service import ClaimsT

router = APIRouter(prefix="/access", route_class=BodyRoute)


@router.post("/signin", status_code=204)
async def signin(
    username: Annotated[Text, Form()],
    password: Annotated[Password, Form()],
    services: ServicesDep,
    users: UsersDep,
) -> Response:
    user = await users.credentials(email=username.lower())
    right = await services.passwords.verify(password, user.password_hash if user else None)
    if user is None or not right or not user.is_active:
        raise ApiError(401, INVALID_CREDENTIALS)
    response = Response(status_code=204)
    set_tokens(response, services, user)
    return response


@router.post("/refresh", status_code=204)
async def refresh(claims: RefreshClaimsDep, services: ServicesDep, users: UsersDep) -> Response:
    user = await users.credentials_of(claims)
    response = Response(status_code=204)
    set_tokens(response, services, user)
    # Last: whatever fails before leaves the token as good as it was.
    if not await users.end(claims):
        raise ApiError(401, INVALID_TOKEN)
    return response


@router.post("/logout", status_code=204)
async def logout(request: Request, services: ServicesDep, users: UsersDep) -> Response:
    """End the tokens that came along; with neither of them valid it is 401."""
    access = _claims_or_none(services.tokens.read_access, request.cookies.get(ACCESS))
    refresh = _claims_or_none(services.tokens.read_refresh, request.cookies.get(REFRESH))
    if access is None and refresh is None:
        raise ApiError(401, NOT_AUTHENTICATED)
    if access is not None:
        await services.revocations.announce_token(access)
    await users.end(*(claims for claims in (access, refresh) if claims is not None))
    if access is not None:
        await services.revocations.announce_token(access)
        await services.access_reader.forget(request.cookies[ACCESS])
        await services.user_cache.forget(access.sub)
    response = Response(status_code=204)
    clear_tokens(response, services)
    return response


@router.patch("/password", status_code=204)
async def change_password(
    body: PasswordChange, claims: AccessClaimsDep, services: ServicesDep, users: UsersDep
) -> Response:
    """Set a new password and end all tokens of the user, those of this session included."""
    user = await users.credentials_of(claims)
    if not await services.passwords.verify(body.current_password, user.password_hash):
        raise ApiError(400, "Current password is wrong")
    password = await services.passwords.to_store(body.new_password)
    until = time.time() + services.tokens.access_s
    # Nothing has changed yet if Valkey is away.
    await services.revocations.announce_change(claims.sub, until)
    version = await users.set_password(user, password, until)
    await services.revocations.announce_version(claims.sub, until, version)
    await services.user_cache.forget(claims.sub)
    response = Response(status_code=204)
    clear_tokens(response, services)
    return response


def _claims_or_none(read: Callable[[str], ClaimsT], token: str | None) -> ClaimsT | None:
    try:
        return read(token) if token else None
    except ApiError:
        return None
