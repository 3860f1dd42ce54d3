"""Users in the database."""

from uuid import UUID

import msgspec
from advanced_alchemy.exceptions import DuplicateKeyError
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, load_only, noload, undefer
from sqlalchemy.orm.interfaces import ORMOption

from auth_app.db.models import Role, UserAccount
from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.roles import APPLICATION_ACCESS


class Queries(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded with a user, and whether a new one is read back."""

    credentials: tuple[ORMOption, ...]
    profile: tuple[ORMOption, ...]
    refresh_after_insert: bool


DEFAULT_CREDENTIALS = (undefer(UserAccount.password),)
DEFAULT_PROFILE = ()

MINIMAL_CREDENTIALS = (
    noload(UserAccount.role),
    load_only(UserAccount.id, UserAccount.email, UserAccount.is_active, UserAccount.password),
)
MINIMAL_PROFILE = (
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

    def __init__(self, session: AsyncSession, queries: Queries) -> None:
        super().__init__(session=session)
        self._session = session
        self._queries = queries

    async def add(self, *, email: str, name: str | None, password: str) -> UserAccount:
        """Insert a user with the default role; a duplicate e-mail address is ``ApiError`` 409."""
        role = await self._session.scalar(select(Role).where(Role.slug == APPLICATION_ACCESS))
        if role is None:
            raise ApiError(503, f"Role {APPLICATION_ACCESS} is missing: run `auth-app seed-roles`")
        user = UserAccount(email=email, name=name, password=password, role=role)
        try:
            return await self.create(user, auto_commit=True, auto_refresh=self._queries.refresh_after_insert)
        except DuplicateKeyError as error:
            raise ApiError(409, "A user with this email already exists") from error

    async def credentials(self, *, email: str) -> UserAccount | None:
        return await self.get_one_or_none(UserAccount.email == email, load=self._queries.credentials)

    async def credentials_by_id(self, user_id: UUID) -> UserAccount:
        """User of a valid token; one that is gone or inactive is ``ApiError`` 401."""
        user = await self.get_one_or_none(UserAccount.id == user_id, load=self._queries.credentials)
        if user is None or not user.is_active:
            raise ApiError(401, INVALID_TOKEN)
        return user

    async def profile(self, user_id: UUID) -> UserAccount:
        """User of a valid token; one that is gone is ``ApiError`` 401."""
        user = await self.get_one_or_none(UserAccount.id == user_id, load=self._queries.profile)
        if user is None:
            raise ApiError(401, INVALID_TOKEN)
        return user

    async def set_password(self, user: UserAccount, password: str) -> None:
        user.password = password
        await self._session.commit()
