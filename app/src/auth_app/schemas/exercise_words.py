"""The words that an exercise is classified with."""

from typing import Literal

Category = Literal["strength", "powerlifting"]
Force = Literal["push", "pull"]
Mechanic = Literal["compound", "isolation"]
Difficulty = Literal["beginner", "intermediate", "expert"]
