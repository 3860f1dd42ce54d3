"""What a handler may ask for."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from auth_app.caches.users import CurrentUser
from auth_app.cookies import ACCESS, REFRESH
from auth_app.db.users import UserService
from auth_app.errors import INVALID_TOKEN, NOT_AUTHENTICATED, ApiError
from auth_app.services import Services
from auth_app.tokens.claims import AccessClaims, RefreshClaims


async def get_services(request: Request) -> Services:
    return request.app.state.services


ServicesDep = Annotated[Services, Depends(get_services)]


async def get_session(services: ServicesDep) -> AsyncIterator[AsyncSession]:
    async with services.sessions() as session:
        yield session


async def get_user_service(
    session: Annotated[AsyncSession, Depends(get_session)], services: ServicesDep
) -> UserService:
    return UserService(session, services.queries)


UserServiceDep = Annotated[UserService, Depends(get_user_service)]


async def get_access_claims(request: Request, services: ServicesDep) -> AccessClaims:
    token = request.cookies.get(ACCESS)
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    claims = await services.access_reader.read(token)
    await services.revocations.check(claims)
    return claims


AccessClaimsDep = Annotated[AccessClaims, Depends(get_access_claims)]


async def get_refresh_claims(request: Request, services: ServicesDep) -> RefreshClaims:
    """Claims of a well-formed refresh token. Whether it was used up, ``Revocations.spend`` tells."""
    token = request.cookies.get(REFRESH)
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    return services.tokens.read_refresh(token)


RefreshClaimsDep = Annotated[RefreshClaims, Depends(get_refresh_claims)]


async def get_current_user(
    claims: AccessClaimsDep, services: ServicesDep, users: UserServiceDep
) -> CurrentUser:
    user = await services.users.get(claims.sub, users)
    if not user.is_active:
        raise ApiError(401, INVALID_TOKEN)
    return user


CurrentUserDep = Annotated[CurrentUser, Depends(get_current_user)]
