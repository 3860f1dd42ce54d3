"""What handlers ask of the database, whoever asks it in their name."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.roles import APPLICATION_ACCESS


class Users(Protocol):
    """Users in the database, for one request.

    A row is anything with an attribute for each field of the body that it becomes; credentials are
    anything with the attributes id, email, is_active and password_hash.
    """

    async def add(self, *, email: str, name: str | None, password: str) -> Any:
        """Insert a user with the default role and return the row.

        A duplicate e-mail address is ``ApiError`` 409, a database without roles 503.
        """
        ...

    async def credentials(self, *, email: str) -> Any | None: ...

    async def credentials_by_id(self, user_id: UUID) -> Any:
        """User of a valid token; one that is gone or inactive is ``ApiError`` 401."""
        ...

    async def profile(self, user_id: UUID) -> Any:
        """Row of the user of a valid token; one that is gone is ``ApiError`` 401."""
        ...

    async def set_password(self, user: Any, password: str) -> None:
        """Store a password for a user that ``credentials_by_id`` returned."""
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


def allowed_in(user: Any | None) -> Any:
    if user is None or not user.is_active:
        raise ApiError(401, INVALID_TOKEN)
    return user


def still_there(row: Any | None) -> Any:
    if row is None:
        raise ApiError(401, INVALID_TOKEN)
    return row


def email_taken() -> ApiError:
    return ApiError(409, "A user with this email already exists")


def role_missing() -> ApiError:
    return ApiError(503, f"Role {APPLICATION_ACCESS} is missing: run `auth-app seed-roles`")
