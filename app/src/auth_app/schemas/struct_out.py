"""Response bodies as msgspec Structs."""

from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec

from auth_app.db.models import UserAccount


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user, for /me."""

    id: UUID
    name: str | None
    email: str
    is_active: bool
    is_superuser: bool
    role_slug: str

    @classmethod
    def from_row(cls, row: UserAccount) -> Self:
        return cls(
            id=row.id,
            name=row.name,
            email=row.email,
            is_active=row.is_active,
            is_superuser=row.is_superuser,
            role_slug=row.role_slug,
        )


class NewUser(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user, for signup."""

    id: UUID
    name: str | None
    email: str
    is_active: bool
    is_superuser: bool
    role_name: str
    role_slug: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: UserAccount) -> Self:
        return cls(
            id=row.id,
            name=row.name,
            email=row.email,
            is_active=row.is_active,
            is_superuser=row.is_superuser,
            role_name=row.role_name,
            role_slug=row.role_slug,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
