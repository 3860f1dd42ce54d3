"""Checks of a verified payload's times and claims, before it becomes typed claims."""

import math
import time
from collections.abc import Callable
from typing import Any

from auth_app.errors import INVALID_TOKEN, TOKEN_EXPIRED, ApiError
from auth_app.tokens.claims import REQUIRED

Check = Callable[[dict[str, Any]], None]
"""Raises ``ApiError`` 401 when the payload will not do."""


def done_by_codec(_: dict[str, Any]) -> None:
    """PyJWT has looked at the claims while it decoded them."""


def claims_registry() -> Check:
    """Joserfc's registry, as in the article's first optimization."""
    from joserfc.errors import ExpiredTokenError, JoseError  # noqa: PLC0415  (not every variant has joserfc)
    from joserfc.jwt import ClaimsOption, JWTClaimsRegistry  # noqa: PLC0415

    # In whole seconds, rounded up: iat has a fraction, which must not look like the future.
    registry = JWTClaimsRegistry(
        lambda: math.ceil(time.time()),
        **dict.fromkeys(REQUIRED, ClaimsOption(essential=True)),
    )

    def check(payload: dict[str, Any]) -> None:
        try:
            registry.validate(payload)
        except ExpiredTokenError as error:
            raise ApiError(401, TOKEN_EXPIRED) from error
        except JoseError as error:
            raise ApiError(401, INVALID_TOKEN) from error

    return check


def manual(payload: dict[str, Any]) -> None:
    """Plain comparisons, the article's fast path."""
    exp, iat = payload.get("exp"), payload.get("iat")
    if not isinstance(exp, int | float) or not isinstance(iat, int | float):
        raise ApiError(401, INVALID_TOKEN)
    now = time.time()
    if not now < exp:
        raise ApiError(401, TOKEN_EXPIRED)
    if not iat <= now:
        raise ApiError(401, INVALID_TOKEN)
