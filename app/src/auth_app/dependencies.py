"""What a handler may ask for, and the rules by which a request is somebody's."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from auth_app.caches.formats import CurrentUser
from auth_app.caches.users import Load
from auth_app.cookies import ACCESS, REFRESH
from auth_app.db.access import Users
from auth_app.errors import INVALID_TOKEN, NOT_AUTHENTICATED, ApiError
from auth_app.services import Services
from auth_app.tokens.claims import AccessClaims, RefreshClaims


def services_of(request: Request) -> Services:
    return request.app.state.services


async def get_services(request: Request) -> Services:
    return services_of(request)


ServicesDep = Annotated[Services, Depends(get_services)]


# The dependencies below take the request, which costs nothing: FastAPI resolves a dependency again
# wherever another one names it, and /me would pay for ServicesDep three times.


async def get_users(request: Request) -> AsyncIterator[Users]:
    async with services_of(request).data.users() as users:
        yield users


UsersDep = Annotated[Users, Depends(get_users)]


async def get_access_claims(request: Request) -> AccessClaims:
    token = request.cookies.get(ACCESS)
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    services = services_of(request)
    claims = await services.access_reader.read(token)
    await services.revocations.check(claims)
    return claims


AccessClaimsDep = Annotated[AccessClaims, Depends(get_access_claims)]


async def get_refresh_claims(request: Request) -> RefreshClaims:
    """Claims of a well-formed refresh token. Whether it was used up, ``Users.end`` tells."""
    token = request.cookies.get(REFRESH)
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    return services_of(request).tokens.read_refresh(token)


RefreshClaimsDep = Annotated[RefreshClaims, Depends(get_refresh_claims)]


async def find_user(claims: AccessClaims, services: Services, load: Load) -> CurrentUser:
    """User behind checked claims; one that is gone or inactive is ``ApiError`` 401."""
    user = await services.user_cache.get(claims.sub, load)
    if not user.is_active:
        raise ApiError(401, INVALID_TOKEN)
    return user


async def get_current_user(request: Request, claims: AccessClaimsDep, users: UsersDep) -> CurrentUser:
    return await find_user(claims, services_of(request), users.profile)


CurrentUserDep = Annotated[CurrentUser, Depends(get_current_user)]
