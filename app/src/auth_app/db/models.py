"""The tables that the service reads and writes through the ORM."""

from typing import Any
from uuid import UUID

from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import PasswordHash
from advanced_alchemy.types.password_hash.base import HashingBackend
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auth_app.passwords import StoredAsGiven


class Role(UUIDv7AuditBase):
    __tablename__ = "role"

    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str | None] = mapped_column(String(255))
    slug: Mapped[str] = mapped_column(String(100), unique=True)


class UserAccount(UUIDv7AuditBase):
    __tablename__ = "user_account"

    name: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(255), unique=True)
    # A str on the way in, a HashedPassword on the way out.
    password: Mapped[Any] = mapped_column(PasswordHash(StoredAsGiven(), 255), deferred=True)
    is_active: Mapped[bool] = mapped_column(default=True)
    is_superuser: Mapped[bool] = mapped_column(default=False)
    role_id: Mapped[UUID] = mapped_column(ForeignKey("role.id", ondelete="RESTRICT"))
    role: Mapped[Role] = relationship(lazy="selectin")

    @property
    def role_name(self) -> str:
        return self.role.name

    @property
    def role_slug(self) -> str:
        return self.role.slug


def hash_passwords_with(backend: HashingBackend) -> None:
    """Choose what the password column does to a value on its way into the database.

    Called once, before the first statement is compiled.
    """
    column_type = UserAccount.__table__.c.password.type
    assert isinstance(column_type, PasswordHash)
    column_type.backend = backend
