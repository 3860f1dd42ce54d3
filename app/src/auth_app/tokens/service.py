"""Issuing tokens and turning a presented one into typed claims."""

from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec

from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.tokens.checks import Check
from auth_app.tokens.claims import AccessClaims, Claims, RefreshClaims
from auth_app.tokens.codecs import Codec

ClaimsT = TypeVar("ClaimsT", bound=Claims)


class Tokens:
    """The tokens of one variant. Lives are in seconds, times in seconds since 1970."""

    def __init__(self, codec: Codec, check: Check, *, access_s: int, refresh_s: int) -> None:
        self._codec = codec
        self._check = check
        self.access_s = access_s
        self.refresh_s = refresh_s

    def issue_access(self, user_id: UUID, email: str, issued_at: float, version: int = 0) -> str:
        return self._issue(user_id, issued_at, self.access_s, version, type="access", email=email)

    def issue_refresh(self, user_id: UUID, issued_at: float, version: int = 0) -> str:
        return self._issue(user_id, issued_at, self.refresh_s, version, type="refresh")

    def read_access(self, token: str) -> AccessClaims:
        """Claims of a valid access token; for anything else ``ApiError`` 401."""
        return self._read(token, AccessClaims)

    def read_refresh(self, token: str) -> RefreshClaims:
        """Claims of a valid refresh token; for anything else ``ApiError`` 401."""
        return self._read(token, RefreshClaims)

    def _issue(self, user_id: UUID, issued_at: float, life_s: int, version: int, **claims: str | int) -> str:
        times: dict[str, Any] = {"iat": issued_at, "exp": issued_at + life_s}
        if version:
            claims["ver"] = version
        return self._codec.sign({"sub": str(user_id), **times, "jti": str(uuid4()), **claims})

    def _read(self, token: str, kind: type[ClaimsT]) -> ClaimsT:
        payload = self._codec.verify(token)
        self._check(payload)
        try:
            return msgspec.convert(payload, kind)
        # SystemError is msgspec 0.20's answer to an integer above all floats, RecursionError to deep nesting.
        except (msgspec.ValidationError, SystemError, RecursionError) as error:
            raise ApiError(401, INVALID_TOKEN) from error
