"""An exercise as Pydantic models, field for field what the Structs are."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from auth_app.schemas.exercise_words import Category, Difficulty, Force, Mechanic


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class MuscleGroup(_Body):
    id: UUID
    name: str


class Equipment(_Body):
    id: UUID
    name: str
    is_portable: bool


class Author(_Body):
    id: UUID
    name: str


class Media(_Body):
    image_path_start: str
    image_path_end: str
    video_url: str | None


class ExerciseRead(_Body):
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
