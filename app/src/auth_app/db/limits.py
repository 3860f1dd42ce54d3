"""Limits of the connections to PgBouncer, alike for the ORM and for plain SQL."""

CONNECT_TIMEOUT_S = 60
"""Long: where passwords are hashed in the event loop, fifty at once keep a finished handshake waiting."""

POOL_SIZE = 20
"""Most connections that a worker keeps."""

IDLE_S = 240
"""A connection is not used again after this time. PgBouncer's client_idle_timeout is 300 s."""
