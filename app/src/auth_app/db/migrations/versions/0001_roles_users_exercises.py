"""Roles, users, exercises.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

FORCE = ("pull", "push", "static")
DIFFICULTY = ("beginner", "intermediate", "expert")
MECHANIC = ("compound", "isolation")
CATEGORY = (
    "cardio",
    "olympic_weightlifting",
    "plyometrics",
    "powerlifting",
    "strength",
    "stretching",
    "strongman",
)


def upgrade() -> None:
    op.create_table(
        "role",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.String(255)),
        sa.Column("slug", sa.String(100), nullable=False),
        *_housekeeping(),
        sa.UniqueConstraint("name", name="uq_role_name"),
    )
    op.create_index("ix_role_slug_unique", "role", ["slug"], unique=True)

    op.create_table(
        "user_account",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(255)),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("password", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("is_superuser", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("role_id", sa.Uuid(), sa.ForeignKey("role.id", ondelete="RESTRICT"), nullable=False),
        *_housekeeping(),
        # Lookups are by the exact address, as published; this makes that enough.
        sa.CheckConstraint("email = lower(email)", name="ck_user_account_email_lower"),
    )
    op.create_index("ix_user_account_email", "user_account", ["email"], unique=True)

    op.create_table(
        "exercises",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("name", sa.String(100)),
        sa.Column("force", postgresql.ENUM(*FORCE, name="force")),
        sa.Column("difficulty_level", postgresql.ENUM(*DIFFICULTY, name="difficulty_level"), nullable=False),
        sa.Column("mechanic", postgresql.ENUM(*MECHANIC, name="mechanic")),
        sa.Column("category", postgresql.ENUM(*CATEGORY, name="category"), nullable=False),
        sa.Column("instructions", sa.Text()),
        sa.Column("image_path_start", sa.String(512)),
        sa.Column("image_path_end", sa.String(512)),
        sa.Column("is_system_default", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("created_by", sa.Uuid(), sa.ForeignKey("user_account.id", ondelete="SET NULL")),
        sa.Column("slug", sa.String(100)),
        *_housekeeping(),
    )
    _partial_index("uq_user_exercise_name", ["created_by", "name"], "created_by IS NOT NULL")
    _partial_index("uq_sys_exercise_slug", ["slug"], "is_system_default IS TRUE")
    _partial_index("uq_sys_exercise_name", ["name"], "is_system_default IS TRUE")


def downgrade() -> None:
    for table in ("exercises", "user_account", "role"):
        op.drop_table(table)
    for enum in ("force", "difficulty_level", "mechanic", "category"):
        op.execute(f"DROP TYPE {enum}")


def _housekeeping() -> list[sa.Column]:
    """Columns of advanced-alchemy's base class."""
    return [
        sa.Column("sa_orm_sentinel", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "exercises", columns, unique=True, postgresql_where=sa.text(where))
