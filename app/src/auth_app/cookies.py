"""The two cookies that carry the tokens."""

import time
from typing import Any, Literal

from fastapi import Response

from auth_app.services import Services

ACCESS = "access_token"
REFRESH = "refresh_token"
_SAME_SITE: dict[str, Literal["lax", "strict"]] = {ACCESS: "lax", REFRESH: "strict"}


def set_tokens(response: Response, services: Services, user: Any) -> None:
    """Set a new pair for a user with these credentials (see ``Users``).

    It carries the version of the credentials: a password change since they were read ends the pair.
    """
    tokens, issued_at = services.tokens, time.time()
    access = tokens.issue_access(user.id, user.email, issued_at, user.token_version)
    refresh = tokens.issue_refresh(user.id, issued_at, user.token_version)
    secure = services.settings.tokens.cookie_secure
    _set(response, ACCESS, access, tokens.access_s, secure=secure)
    _set(response, REFRESH, refresh, tokens.refresh_s, secure=secure)


def clear_tokens(response: Response, services: Services) -> None:
    secure = services.settings.tokens.cookie_secure
    _set(response, ACCESS, "", 0, secure=secure)
    _set(response, REFRESH, "", 0, secure=secure)


def _set(response: Response, name: str, value: str, max_age_s: int, *, secure: bool) -> None:
    response.set_cookie(
        name,
        value,
        max_age=max_age_s,
        path="/",
        secure=secure,
        httponly=True,
        samesite=_SAME_SITE[name],
    )
