"""Alembic's environment: runs inside the transaction of db/migrate.py."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
