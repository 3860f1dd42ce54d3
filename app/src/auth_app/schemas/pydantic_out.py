"""Response bodies as Pydantic models."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class User(BaseModel):
    """A user, for signup and for /me."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)

    id: UUID
    name: str | None
    email: str
    is_active: bool
    is_superuser: bool
    role_name: str
    role_slug: str
    created_at: datetime
    updated_at: datetime
