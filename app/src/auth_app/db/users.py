"""Users through the ORM."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from advanced_alchemy.exceptions import DuplicateKeyError
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from sqlalchemy import TextClause, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, load_only, noload, undefer
from sqlalchemy.orm.interfaces import ORMOption

from auth_app.db import revocations
from auth_app.db.access import allowed_in, columns_of, email_taken, role_missing, still_there
from auth_app.db.models import Role, UserAccount
from auth_app.roles import APPLICATION_ACCESS
from auth_app.tokens.claims import AccessClaims, Claims, RefreshClaims


class Queries(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded with a user, and whether a new one is read back."""

    credentials: tuple[ORMOption, ...]
    profile: tuple[ORMOption, ...]
    refresh_after_insert: bool


DEFAULT_CREDENTIALS = (undefer(UserAccount.password), undefer(UserAccount.token_version))
DEFAULT_PROFILE = ()

MINIMAL_CREDENTIALS = (
    noload(UserAccount.role),
    load_only(
        UserAccount.id,
        UserAccount.email,
        UserAccount.is_active,
        UserAccount.token_version,
        UserAccount.password,
    ),
)


def minimal_profile(fields: Iterable[str]) -> tuple[ORMOption, ...]:
    """Load exactly these fields in one query; those that begin with ``role_`` are the role's."""
    fields = list(fields)
    own = [getattr(UserAccount, field) for field in fields if not field.startswith("role_")]
    roles = [getattr(Role, field.removeprefix("role_")) for field in fields if field.startswith("role_")]
    return (load_only(*own), joinedload(UserAccount.role).load_only(*roles))


def _statement(sql: str) -> TextClause:
    """Name the numbered arguments p1, p2, ..., as SQLAlchemy wants."""
    return text(re.sub(r"\$(\d+)", r":p\1", sql))


_END_TOKENS = _statement(revocations.END_TOKENS)
_OUTDATE_USER = _statement(revocations.OUTDATE_USER)
_IN_MEMORY = _statement(revocations.IN_MEMORY)
_IS_LIVE = _statement(revocations.IS_LIVE)


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

    async def credentials_of(self, claims: Claims) -> UserAccount:
        return allowed_in(
            await self.get_one_or_none(UserAccount.id == claims.sub, load=self._queries.credentials), claims
        )

    async def profile(self, user_id: UUID) -> UserAccount:
        return still_there(await self.get_one_or_none(UserAccount.id == user_id, load=self._queries.profile))

    async def set_password(self, user: UserAccount, password: str, until: float) -> int:
        await self._session.execute(
            update(UserAccount)
            .where(UserAccount.id == user.id)
            .values(
                password=password,
                updated_at=datetime.now(UTC),
                token_version=UserAccount.token_version + 1,
            )
            .execution_options(synchronize_session=False)
        )
        version = await self._session.scalar(_OUTDATE_USER, {"p1": user.id, "p2": until})
        await self._session.commit()
        return still_there(version)

    async def end(self, *tokens: AccessClaims | RefreshClaims) -> int:
        keys, kinds, expiries = columns_of(tokens)
        new = await self._session.execute(_END_TOKENS, {"p1": keys, "p2": kinds, "p3": expiries})
        count = len(new.all())
        await self._session.commit()
        return count

    async def is_live(self, claims: Claims) -> bool:
        found = await self._session.execute(_IS_LIVE, {"p1": claims.sub, "p2": claims.ver, "p3": claims.jti})
        return found.first() is not None

    async def revocations(self, after: int, since: float) -> Sequence[Any]:
        return (await self._session.execute(_IN_MEMORY, {"p1": after, "p2": since})).all()
