"""Limits of the connections to PgBouncer, alike for the ORM and for plain SQL."""

CONNECT_TIMEOUT_S = 5

POOL_SIZE = 20
"""Most connections that a worker keeps."""

IDLE_S = 240
"""A connection is not used again after this time. PgBouncer's client_idle_timeout is 300 s."""
