"""Tells a database that is away from a fault of ours."""

import asyncpg

_AWAY = (
    asyncpg.PostgresConnectionError,  # PgBouncer's own errors come as 08P01, one of these
    asyncpg.OperatorInterventionError,  # shut down, starting up
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,  # the connection is closed
)


def raise_outage(error: BaseException | None) -> None:
    """Raise ``ConnectionError`` when asyncpg, or a library on top of it, tells of an outage with ``error``."""
    behind = error
    while behind is not None:
        if isinstance(behind, _AWAY):
            raise ConnectionError(f"database: {behind}") from error
        behind = behind.__cause__
