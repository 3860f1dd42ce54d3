"""Tells a database that is away from a fault of ours."""

import asyncpg

from auth_app.errors import busy

_AWAY = (
    asyncpg.PostgresConnectionError,  # PgBouncer's own errors come as 08P01, one of these
    asyncpg.OperatorInterventionError,  # shut down, starting up
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,  # the connection is closed
)


def raise_outage(error: BaseException | None, *, exhausted: tuple[type[Exception], ...] = ()) -> None:
    """Raise ``ConnectionError`` when asyncpg, or a library on top of it, tells of an outage with ``error``.

    An error that is one of ``exhausted`` tells that no connection became free in time: ``ApiError`` 503.
    """
    behind = error
    while behind is not None:
        if isinstance(behind, exhausted):
            raise busy() from error
        if isinstance(behind, _AWAY):
            raise ConnectionError(f"database: {behind}") from error
        behind = behind.__cause__
