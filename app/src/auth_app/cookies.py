"""The two cookies that carry the tokens."""

from typing import Literal
from uuid import UUID

from fastapi import Response

from auth_app.services import Services

ACCESS = "access_token"
REFRESH = "refresh_token"
_SAME_SITE: dict[str, Literal["lax", "strict"]] = {ACCESS: "lax", REFRESH: "strict"}


def set_tokens(response: Response, services: Services, user_id: UUID, email: str, issued_at: float) -> None:
    """Set a new pair.

    ``issued_at`` is to be taken before the user is read from the database: a password change in
    between then outdates the pair.
    """
    tokens = services.tokens
    access = tokens.issue_access(user_id, email, issued_at)
    refresh = tokens.issue_refresh(user_id, issued_at)
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
