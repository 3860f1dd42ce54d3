"""Response bodies as msgspec Structs."""

from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What all bodies show of a user."""

    id: UUID
    name: str | None
    email: str
    is_active: bool
    is_superuser: bool

    @classmethod
    def from_row(cls, row: Any) -> Self:
        """Take each field from the attribute of its name."""
        return cls(**{field: getattr(row, field) for field in cls.__struct_fields__})


class FullUser(User, frozen=True, kw_only=True, rename="camel"):
    """A user, for signup and for /me with 9 fields."""

    role_name: str
    role_slug: str
    created_at: datetime
    updated_at: datetime


class BriefUser(User, frozen=True, kw_only=True, rename="camel"):
    """A user, for /me with 6 fields."""

    role_slug: str
