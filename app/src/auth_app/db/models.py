"""The tables that the service reads and writes through the ORM."""

from typing import Any
from uuid import UUID

from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import PasswordHash
from advanced_alchemy.types.password_hash.pwdlib import PwdlibHasher
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship


class StoredAsGiven(PwdlibHasher):
    """Backend of the password column when the value is hashed before it reaches the ORM."""

    def __init__(self) -> None:
        super().__init__(Argon2Hasher())

    def hash(self, value: str | bytes) -> str:
        return value if isinstance(value, str) else value.decode()


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
    # Read with the credentials only, so that /me asks for the published columns.
    token_version: Mapped[int] = mapped_column(default=0, deferred=True)
    role_id: Mapped[UUID] = mapped_column(ForeignKey("role.id", ondelete="RESTRICT"))
    role: Mapped[Role] = relationship(lazy="selectin")

    @property
    def password_hash(self) -> str:
        return self.password.hash_string

    @property
    def role_name(self) -> str:
        return self.role.name

    @property
    def role_slug(self) -> str:
        return self.role.slug


def hash_passwords_with(hasher: Argon2Hasher | None) -> None:
    """Choose what hashes a password on its way into the database; None if it arrives as a hash.

    Called once, before the first statement is compiled.
    """
    backend = StoredAsGiven() if hasher is None else PwdlibHasher(hasher)
    column_type = UserAccount.__table__.c.password.type
    assert isinstance(column_type, PasswordHash)
    column_type.backend = backend
