"""Response bodies as Pydantic models."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class User(BaseModel):
    """What all bodies show of a user."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)

    id: UUID
    name: str | None
    email: str
    is_active: bool
    is_superuser: bool


class FullUser(User):
    """A user, for signup and for /me with 9 fields."""

    role_name: str
    role_slug: str
    created_at: datetime
    updated_at: datetime


class BriefUser(User):
    """A user, for /me with 6 fields."""

    role_slug: str
