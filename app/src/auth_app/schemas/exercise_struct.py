"""An exercise as msgspec Structs."""

from datetime import datetime
from uuid import UUID

import msgspec

from auth_app.schemas.exercise_words import Category, Difficulty, Force, Mechanic


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all of them: immutable, camelCase in JSON."""


class MuscleGroup(_Body, frozen=True, kw_only=True):
    id: UUID
    name: str


class Equipment(_Body, frozen=True, kw_only=True):
    id: UUID
    name: str
    is_portable: bool


class Author(_Body, frozen=True, kw_only=True):
    id: UUID
    name: str


class Media(_Body, frozen=True, kw_only=True):
    image_path_start: str
    image_path_end: str
    video_url: str | None


class ExerciseRead(_Body, frozen=True, kw_only=True):
    id: UUID
    slug: str
    name: str
    category: Category
    force: Force
    mechanic: Mechanic
    difficulty_level: Difficulty
    instructions: list[str]
    primary_muscles: list[MuscleGroup]
    secondary_muscles: list[MuscleGroup]
    equipment: Equipment
    author: Author
    media: Media
    is_system_default: bool
    created_at: datetime
    updated_at: datetime
