"""What the figures are held against."""

from ironbench.records import Record


class Quantity(Record, frozen=True):
    """CPU-ms per request: of the server itself (``app``), or of PostgreSQL and PgBouncer (``database``)."""

    server: str
    endpoint: str
    of: str = "app"


class Target(Record, frozen=True):
    section: str
    says: str
    numerator: Quantity
    denominator: Quantity
    at_most: float | None
    """None: shown, and held against nothing."""


TARGETS = [
    Target(
        "me",
        "me: beyond / async FastAPI ping",
        Quantity("beyond", "me"),
        Quantity("ping", "ping"),
        1.35,
    ),
    Target("me", "me: beyond / final", Quantity("beyond", "me"), Quantity("final", "me"), 0.65),
    Target(
        "passwords",
        "signin, app: beyond / bare Argon2id",
        Quantity("beyond", "signin"),
        Quantity("argon2", "argon2-verify"),
        1.10,
    ),
    Target(
        "passwords",
        "signup, app: beyond / bare Argon2id",
        Quantity("beyond", "signup"),
        Quantity("argon2", "argon2-hash"),
        1.10,
    ),
    # `beyond` keeps Argon2's memory and the plain loop does not: this is what it has on top of its own hash.
    Target(
        "passwords",
        "signin, app: beyond / bare Argon2id, kept memory",
        Quantity("beyond", "signin"),
        Quantity("argon2", "argon2-kept-verify"),
        None,
    ),
    Target(
        "passwords",
        "signup, app: beyond / bare Argon2id, kept memory",
        Quantity("beyond", "signup"),
        Quantity("argon2", "argon2-kept-hash"),
        None,
    ),
    Target(
        "passwords",
        "signin, PostgreSQL + PgBouncer: beyond / final",
        Quantity("beyond", "signin", "database"),
        Quantity("final", "signin", "database"),
        0.50,
    ),
    Target(
        "passwords",
        "signup, PostgreSQL + PgBouncer: beyond / final",
        Quantity("beyond", "signup", "database"),
        Quantity("final", "signup", "database"),
        0.50,
    ),
]

TIMING_WITHIN = 0.05
"""How far the median time for an unknown email may be from that for a wrong password."""

PUBLISHED_GAP = 4.33
"""Mean latency of /serialization-pydantic over that of /serialization-msgspec at 600 requests per second,
means of the three published runs."""

WANTED_BLOCKS = 10
