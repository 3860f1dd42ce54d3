"""The variants: which levers each of them pulls. Data only; wiring.py gives it its meaning."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from auth_app.errors import AuthAppError


class Levers(msgspec.Struct, frozen=True, kw_only=True):
    """One field a lever; the defaults are the article's baseline."""

    tokens: Literal["pyjwt-rs256", "joserfc-ed25519"] = "pyjwt-rs256"
    """Library and algorithm of the tokens. PyJWT gets the PEM text on every call, as published;
    joserfc gets a key that was loaded once."""
    claims_check: Literal["library", "manual"] = "library"
    """Who looks at exp, iat and the presence of claims: the library (joserfc's registry, PyJWT's own
    checks) or plain comparisons."""
    token_cache: bool = False
    """Keep the claims of tokens whose signature was verified, by digest of the whole token."""
    hashing: Literal["inline", "thread-pool"] = "inline"
    """Argon2 in the event loop, by the ORM's column type, or in two threads."""
    argon2_lanes: int = 4
    """Argon2's parallelism; 4 is the library's default."""
    user_cache: Literal["fastapi-cache2", "cashews-client-side"] = "fastapi-cache2"
    queries: Literal["default-loaders", "minimal"] = "default-loaders"
    """minimal: noload + load_only for signin, joinedload + load_only for /me."""
    refresh_after_insert: bool = True
    responses: Literal["pydantic", "msgspec"] = "pydantic"
    """Pydantic through jsonable_encoder, or msgspec Structs. The article changed the body of /me in
    the same step: 9 fields with pydantic, 6 with msgspec."""


BASELINE = Levers()
OPTIMIZATION_1 = replace(BASELINE, tokens="joserfc-ed25519", hashing="thread-pool")
FINAL = replace(
    OPTIMIZATION_1,
    claims_check="manual",
    token_cache=True,
    argon2_lanes=1,
    user_cache="cashews-client-side",
    queries="minimal",
    refresh_after_insert=False,
    responses="msgspec",
)

VARIANTS = {"baseline": BASELINE, "optimization-1": OPTIMIZATION_1, "final": FINAL}


def levers_of(variant: str) -> Levers:
    try:
        return VARIANTS[variant]
    except KeyError:
        msg = f"there is no variant {variant!r}: choose one of {', '.join(VARIANTS)}."
        raise AuthAppError(msg) from None
