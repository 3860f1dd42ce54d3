"""Brings the schema to the newest revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from auth_app.db.engine import create_engine
from auth_app.errors import unusable
from auth_app.settings import Database

LOCK = 0x61757468
"""Key of the advisory lock that keeps two migrations apart ("auth")."""


async def migrate(database: Database) -> bool:
    """Upgrade in one transaction; return whether anything changed."""
    engine = create_engine(database)
    try:
        async with engine.begin() as connection:
            # Of the transaction, since PgBouncer gives the server connection away after it.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            return await connection.run_sync(_upgrade)
    except (DBAPIError, OSError) as error:
        raise unusable(f"the database at {database.host}:{database.port}", error) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> bool:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    before = MigrationContext.configure(connection).get_current_heads()
    command.upgrade(config, "head")
    return MigrationContext.configure(connection).get_current_heads() != before
