"""Users through the ORM."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from advanced_alchemy.exceptions import DuplicateKeyError
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, load_only, noload, undefer
from sqlalchemy.orm.interfaces import ORMOption

from auth_app.db.access import allowed_in, email_taken, role_missing, still_there
from auth_app.db.models import Role, UserAccount
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


def minimal_profile(fields: Iterable[str]) -> tuple[ORMOption, ...]:
    """Load exactly these fields in one query; those that begin with ``role_`` are the role's."""
    fields = list(fields)
    own = [getattr(UserAccount, field) for field in fields if not field.startswith("role_")]
    roles = [getattr(Role, field.removeprefix("role_")) for field in fields if field.startswith("role_")]
    return (load_only(*own), joinedload(UserAccount.role).load_only(*roles))


class UserService(SQLAlchemyAsyncRepositoryService[UserAccount]):
    class Repository(SQLAlchemyAsyncRepository[UserAccount]):
        model_type = UserAccount

    repository_type = Repository

    def __init__(self, session: AsyncSession, queries: Queries) -> None:
        super().__init__(session=session)
        self._session = session
        self._queries = queries

    async def add(self, *, email: str, name: str | None, password: str) -> UserAccount:
        role = await self._session.scalar(select(Role).where(Role.slug == APPLICATION_ACCESS))
        if role is None:
            raise role_missing()
        user = UserAccount(email=email, name=name, password=password, role=role)
        try:
            return await self.create(user, auto_commit=True, auto_refresh=self._queries.refresh_after_insert)
        except DuplicateKeyError as error:
            raise email_taken() from error

    async def credentials(self, *, email: str) -> UserAccount | None:
        return await self.get_one_or_none(UserAccount.email == email, load=self._queries.credentials)

    async def credentials_by_id(self, user_id: UUID) -> UserAccount:
        return allowed_in(
            await self.get_one_or_none(UserAccount.id == user_id, load=self._queries.credentials)
        )

    async def profile(self, user_id: UUID) -> UserAccount:
        return still_there(await self.get_one_or_none(UserAccount.id == user_id, load=self._queries.profile))

    async def set_password(self, user: UserAccount, password: str) -> None:
        user.password = password
        await self._session.commit()
