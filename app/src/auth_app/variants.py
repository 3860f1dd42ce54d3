"""The variants: which levers each of them pulls. Data only; wiring.py gives it its meaning."""

# ruff: noqa: S105, S106  The names of two levers hold the word token.

from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec.structs import replace

from auth_app.errors import AuthAppError


class Levers(msgspec.Struct, frozen=True, kw_only=True):
    """One field a lever; the defaults are the article's baseline, in the order in which it changed them."""

    tokens: Literal["pyjwt-rs256-pem", "pyjwt-rs256-key", "joserfc-ed25519"] = "pyjwt-rs256-pem"
    """Library, algorithm and key of the tokens. PyJWT gets the PEM text on every call, as published, or
    a key that was loaded once; joserfc gets a key that was loaded once."""
    hashing: Literal["inline", "thread-pool"] = "inline"
    """Argon2 in the event loop, by the ORM's column type, or in a pool of threads."""
    argon2_lanes: Literal[4, 1, 2] = 4
    """Argon2's parallelism; 4 is the library's default. 2 is between what the article compared."""
    refresh_after_insert: bool = True
    """Read a new user back after it was inserted."""
    signin_query: Literal["selectin", "noload-load-only"] = "selectin"
    """The user's role in a second query and all columns, or no role and four columns."""
    me_query: Literal["selectin", "joinedload-load-only"] = "selectin"
    """The user's role in a second query and all columns, or one query for what the body shows."""
    response: Literal["pydantic", "jsonable-encoder", "msgspec"] = "jsonable-encoder"
    """A Pydantic model as FastAPI writes it, a Pydantic model through jsonable_encoder and msgspec, as
    published, or a msgspec Struct."""
    me_fields: Literal[9, 6] = 9
    """Fields in the body of /me. The article changed them together with the response, and does not say so."""
    user_cache: Literal["none", "fastapi-cache2", "cashews-client-side", "in-process"] = "fastapi-cache2"
    """Where the user behind a token is kept; in-process copies end with the revocations."""
    claims_check: Literal["library", "manual"] = "library"
    """Who looks at exp, iat and the presence of claims: the library (joserfc's registry, PyJWT's own
    checks) or plain comparisons."""
    token_cache: Literal["none", "cashews-client-side", "in-process"] = "none"
    """Keep the claims of tokens whose signature was verified, by digest of the whole token."""

    # What the article did not change, or changed without a figure for it.
    hashing_threads: Annotated[int, msgspec.Meta(ge=1)] = 2
    """Threads of the pool, with hashing=thread-pool; the article's server had two cores."""
    argon2_memory: Literal["fresh", "kept"] = "fresh"
    """Argon2's 64 MiB from malloc for each hash, or kept by each thread, in huge pages if there are any."""
    database_pool: Literal["none", "persistent"] = "none"
    """A connection for each request (NullPool, SCRAM included), as published, or connections that stay,
    with prepared statements where the settings say that PgBouncer can."""
    compiled_cache: bool = False
    """Keep the SQL that SQLAlchemy compiled; off, as published."""
    data_access: Literal["orm", "sql"] = "orm"
    """SQLAlchemy and advanced-alchemy, or one SQL statement for each task on asyncpg's own pool."""
    me_handler: Literal["dependencies", "direct"] = "dependencies"
    """/me on FastAPI's dependencies, or on one function that asks for nothing but the request."""
    correlation_id: bool = False
    """The middleware that gives each request an X-Request-ID; left out of the article's auth tests."""
    logging: bool = False
    """The middleware that logs each request with structlog; left out of the article's auth tests."""
    asyncio_debug: bool = False
    """asyncio's debug mode, as in the article's preliminary analysis; it names callbacks of 1 ms and more."""
    server: Literal["uvicorn", "granian"] = "uvicorn"


BASELINE = Levers()
OPTIMIZATION_1 = replace(BASELINE, tokens="joserfc-ed25519", hashing="thread-pool")
FINAL = replace(
    OPTIMIZATION_1,
    argon2_lanes=1,
    refresh_after_insert=False,
    signin_query="noload-load-only",
    me_query="joinedload-load-only",
    response="msgspec",
    me_fields=6,
    user_cache="cashews-client-side",
    claims_check="manual",
    token_cache="cashews-client-side",
)
BEYOND = replace(
    FINAL,
    user_cache="in-process",
    token_cache="in-process",
    argon2_memory="kept",
    database_pool="persistent",
    data_access="sql",
    me_handler="direct",
)

NAMED = {"baseline": BASELINE, "optimization-1": OPTIMIZATION_1, "final": FINAL, "beyond": BEYOND}
"""The states that the article published, and what else its profiles would have paid for."""

SINGLE = {
    "baseline-pydantic": replace(BASELINE, response="pydantic"),
    "baseline-thread-pool": replace(BASELINE, hashing="thread-pool"),
    "baseline-no-user-cache": replace(BASELINE, user_cache="none"),
    "baseline-asyncio-debug": replace(BASELINE, asyncio_debug=True),
    "baseline-thread-pool-asyncio-debug": replace(BASELINE, hashing="thread-pool", asyncio_debug=True),
    "baseline-ed25519-asyncio-debug": replace(BASELINE, tokens="joserfc-ed25519", asyncio_debug=True),
    "optimization-1-asyncio-debug": replace(OPTIMIZATION_1, asyncio_debug=True),
    "optimization-1-two-lanes": replace(OPTIMIZATION_1, argon2_lanes=2),
    "optimization-1-one-lane": replace(OPTIMIZATION_1, argon2_lanes=1),
    "optimization-1-manual-claims": replace(OPTIMIZATION_1, claims_check="manual"),
    "final-kept-memory": replace(FINAL, argon2_memory="kept"),
    "final-persistent-pool": replace(FINAL, database_pool="persistent"),
    "final-persistent-pool-compiled-cache": replace(FINAL, database_pool="persistent", compiled_cache=True),
    "final-correlation-id": replace(FINAL, correlation_id=True),
    "final-logging": replace(FINAL, logging=True, correlation_id=True),
    "final-granian": replace(FINAL, server="granian"),
}
"""Variants for single questions."""


def _way(lever: str) -> list[Any]:
    """Values of a lever from baseline to final, those in between included."""
    values = list(get_args(get_type_hints(Levers)[lever])) or [True, False]
    first, last = (values.index(getattr(levers, lever)) for levers in (BASELINE, FINAL))
    return values[first : last + 1]


def _name(prefix: str, lever: str, value: Any) -> str:
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return f"{prefix}-{lever}-{text}".replace("_", "-")


def _ladder() -> dict[str, Levers]:
    """Baseline to final, one change at a time; a state that has a name already keeps it."""
    known = {levers: name for name, levers in NAMED.items()}
    rungs, levers = {"baseline": BASELINE}, BASELINE
    for lever in CHANGED:
        for value in _way(lever)[1:]:
            levers = replace(levers, **{lever: value})
            rungs[known.get(levers) or _name(f"ladder-{len(rungs):02}", lever, value)] = levers
    return rungs


def _leave_one_out() -> dict[str, Levers]:
    """Final with one change taken back, wholly or half."""
    return {
        _name("final-but", lever, value): replace(FINAL, **{lever: value})
        for lever in CHANGED
        for value in _way(lever)[:-1]
    }


CHANGED = [name for name in Levers.__struct_fields__ if getattr(BASELINE, name) != getattr(FINAL, name)]
"""The levers that the article pulled."""
LADDER = _ladder()
LEAVE_ONE_OUT = _leave_one_out()
VARIANTS = NAMED | LADDER | LEAVE_ONE_OUT | SINGLE


def levers_of(variant: str) -> Levers:
    try:
        return VARIANTS[variant]
    except KeyError:
        msg = f"there is no variant {variant!r}: choose one of {', '.join(VARIANTS)}."
        raise AuthAppError(msg) from None
