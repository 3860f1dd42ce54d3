"""Revocations: tokens that are used up or ended, and a version of each user's tokens.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "user_account", sa.Column("token_version", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_table(
        "revocation",
        # The jti of a token, or the id of a user.
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        # Of a user: tokens of an earlier version are dead.
        sa.Column("version", sa.Integer()),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        # The order of insertion, which no clock can change.
        sa.Column("position", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.CheckConstraint("kind IN ('access', 'refresh', 'user')", name="ck_revocation_kind"),
    )
    op.create_index("ix_revocation_position", "revocation", ["position"], unique=True)
    op.create_index("ix_revocation_expires_at", "revocation", ["expires_at"])
    # Workers keep these in memory; of refresh tokens, which are many more, they ask when one is presented.
    op.create_index(
        "ix_revocation_in_memory",
        "revocation",
        ["position"],
        postgresql_where=sa.text("kind <> 'refresh'"),
    )


def downgrade() -> None:
    op.drop_table("revocation")
    op.drop_column("user_account", "token_version")
