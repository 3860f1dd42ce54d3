"""The table of exercises, its rows from a seed, and the query: SQL that a throwaway cluster is given.

Columns and indexes are those of the published schema. What no publication tells was fitted to the published plans
(bitmap scan: cost 8,074, 3,835 heap blocks, 26 of the index, width 1168; index scan: 3,967 pages): some 9,000 heap
pages, so rows of about 147 bytes, with both image paths NULL (for an all-NULL varchar(512) the planner guesses 516
bytes, and 2 x 516 is most of that width), and slugs of 16 to 23 bytes that nearly follow the order of the rows.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import QueryPlanTest

TABLE = "exercises"
INDEX = "uq_exercise_slug"
"""The name in the published plans."""
QUERY = f"SELECT * FROM {TABLE} WHERE is_system_default IS TRUE"  # noqa: S608 - a constant

FORCE = ("pull", "push", "static")
DIFFICULTY = ("beginner", "intermediate", "expert")
MECHANIC = ("compound", "isolation")
CATEGORY = ("cardio", "plyometrics", "powerlifting", "strength", "stretching")
MOVES = ("bench press", "calf raise", "cable row", "deadlift", "hip thrust", "lunge", "pull-up", "squat")

CREATED = "2026-01-31 12:00:00+00"
BATCH = 5_000
"""Rows to a piece of COPY's input."""


def _enum(name: str, labels: tuple[str, ...]) -> str:
    return f"CREATE TYPE {name} AS ENUM ({', '.join(repr(label) for label in labels)});"


DDL = f"""
{_enum("force", FORCE)}
{_enum("difficulty_level", DIFFICULTY)}
{_enum("mechanic", MECHANIC)}
{_enum("category", CATEGORY)}
CREATE TABLE {TABLE} (
  id uuid PRIMARY KEY,
  name varchar(100),
  force force,
  difficulty_level difficulty_level NOT NULL,
  mechanic mechanic,
  category category NOT NULL,
  instructions text,
  image_path_start varchar(512),
  image_path_end varchar(512),
  is_system_default boolean NOT NULL DEFAULT false,
  created_by uuid,
  slug varchar(100),
  sa_orm_sentinel integer,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
"""
INDEXES = f"CREATE UNIQUE INDEX {INDEX} ON {TABLE} (slug) WHERE is_system_default IS TRUE;"


def selected_rows(test: QueryPlanTest, seed: int) -> set[int]:
    """Return the numbers, from 0, of the rows that are system defaults; the same seed gives the same ones."""
    draw = random.Random(f"{seed}/selected")  # noqa: S311 - rows, not secrets
    return set(draw.sample(range(test.rows), test.selected))


def copy_lines(test: QueryPlanTest, seed: int) -> Iterator[bytes]:
    r"""Give the rows as input of COPY in text format, in pieces, without the end mark ``\.``."""
    selected = selected_rows(test, seed)
    draw = random.Random(f"{seed}/rows")  # noqa: S311 - rows, not secrets
    lines: list[str] = []
    defaults = 0
    for number in range(test.rows):
        owner, slug, mark = str(uuid.UUID(int=draw.getrandbits(128))), r"\N", "f"
        if number in selected:
            defaults += 1
            owner, slug, mark = r"\N", f"system-exercise-{defaults}", "t"
        lines.append(
            "\t".join(
                (
                    str(uuid.UUID(int=draw.getrandbits(128))),
                    f"{draw.choice(MOVES)} {number}",
                    draw.choice(FORCE),
                    draw.choice(DIFFICULTY),
                    draw.choice(MECHANIC),
                    draw.choice(CATEGORY),
                    f"{draw.randint(2, 5)} sets of {draw.randint(5, 20)}, and slowly",
                    r"\N",
                    r"\N",
                    mark,
                    owner,
                    slug,
                    r"\N",
                    CREATED,
                    CREATED,
                )
            )
        )
        if len(lines) == BATCH or number + 1 == test.rows:
            yield ("\n".join(lines) + "\n").encode()
            lines.clear()
