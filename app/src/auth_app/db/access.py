"""What handlers ask of the database, whoever asks it in their name."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.roles import APPLICATION_ACCESS
from auth_app.tokens.claims import AccessClaims, Claims, RefreshClaims


class Users(Protocol):
    """Users in the database, for one request.

    A row is anything with an attribute for each field of the body that it becomes; credentials are
    anything with the attributes id, email, is_active, token_version and password_hash.
    """

    async def add(self, *, email: str, name: str | None, password: str) -> Any:
        """Insert a user with the default role and return the row.

        A duplicate e-mail address is ``ApiError`` 409, a database without roles 503.
        """
        ...

    async def credentials(self, *, email: str) -> Any | None: ...

    async def credentials_of(self, claims: Claims) -> Any:
        """User of a valid token; ``ApiError`` 401 for one that is gone, inactive or has ended its tokens."""
        ...

    async def profile(self, user_id: UUID) -> Any:
        """Row of the user of a valid token; one that is gone is ``ApiError`` 401."""
        ...

    async def set_password(self, user: Any, password: str, until: float) -> int:
        """Store a password for a user that ``credentials_of`` returned, and end all tokens of that user.

        ``until`` is when the last of the ended access tokens expires. Return the version of the user's
        next tokens.
        """
        ...

    async def end(self, *tokens: AccessClaims | RefreshClaims) -> int:
        """Record that tokens are used up; return how many of them were not before."""
        ...

    async def is_live(self, claims: Claims) -> bool:
        """Whether neither the token nor all tokens of its user were ended."""
        ...

    async def revocations(self, after: int, since: float) -> Sequence[Any]:
        """Return a page of what workers keep in memory, from behind this position; empty at the end.

        That is what expires after ``since``, and the newest whenever they expire. A row has the
        attributes position, key, kind, version and expires_at.
        """
        ...


class DataAccess(Protocol):
    """Lives as long as the application. It opens no connection before the first question."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def users(self) -> AbstractAsyncContextManager[Users]:
        """Users for one request; a database that is away becomes an ``OSError`` in it."""
        ...

    async def ping(self) -> None:
        """Ask the database anything; raises what the driver raises."""
        ...


def allowed_in(user: Any | None, claims: Claims) -> Any:
    if user is None or not user.is_active or user.token_version != claims.ver:
        raise ApiError(401, INVALID_TOKEN)
    return user


def columns_of(tokens: Sequence[AccessClaims | RefreshClaims]) -> tuple[list[str], list[str], list[float]]:
    """Keys, kinds and expiries, as ``END_TOKENS`` takes them."""
    return (
        [token.jti for token in tokens],
        [token.type for token in tokens],
        [token.exp for token in tokens],
    )


def still_there(row: Any | None) -> Any:
    if row is None:
        raise ApiError(401, INVALID_TOKEN)
    return row


def email_taken() -> ApiError:
    return ApiError(409, "A user with this email already exists")


def role_missing() -> ApiError:
    return ApiError(503, f"Role {APPLICATION_ACCESS} is missing: run `auth-app seed-roles`")
