"""Tells a database that is away from a fault of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

_AWAY = (
    asyncpg.PostgresConnectionError,  # PgBouncer's own errors come as 08P01, one of these
    asyncpg.OperatorInterventionError,  # shut down, starting up
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,  # the connection is closed
)


@contextmanager
def outages_as_os_errors() -> Iterator[None]:
    """Raise ``ConnectionError`` for what asyncpg, or a library on top of it, says about an outage."""
    try:
        yield
    except Exception as error:
        behind: BaseException | None = error
        while behind is not None:
            if isinstance(behind, _AWAY):
                raise ConnectionError(f"database: {behind}") from error
            behind = behind.__cause__
        raise
