"""How a request's access token is read: verified every time, or once and then remembered."""

import hashlib
import time
from typing import Protocol

import msgspec

from auth_app.caches.store import Store
from auth_app.errors import TOKEN_EXPIRED, ApiError
from auth_app.tokens.claims import AccessClaims
from auth_app.tokens.service import Tokens


class AccessReader(Protocol):
    async def read(self, token: str) -> AccessClaims:
        """Claims of a valid access token; for anything else ``ApiError`` 401."""
        ...

    async def forget(self, token: str) -> None:
        """Drop what is remembered of the token. Revocation does not rest on it."""
        ...


class VerifyingReader:
    """Verifies the signature on every request."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def read(self, token: str) -> AccessClaims:
        return self._tokens.read_access(token)

    async def forget(self, token: str) -> None:
        """Nothing is remembered."""


class RememberingReader:
    """Verifies a token once and remembers its claims for the rest of its life.

    The key is a digest of the whole token, signature included: a token that differs in one byte is
    another token and is verified. (The article's key was the jti of the unverified payload.)
    """

    def __init__(self, tokens: Tokens, store: Store) -> None:
        self._tokens = tokens
        self._store = store
        self._decoder = msgspec.msgpack.Decoder(AccessClaims)

    async def read(self, token: str) -> AccessClaims:
        key = _key(token)
        remembered = await self._store.get(key)
        if remembered is not None:
            claims = self._decoder.decode(remembered)
            if claims.exp <= time.time():
                raise ApiError(401, TOKEN_EXPIRED)
            return claims
        claims = self._tokens.read_access(token)
        await self._store.set(key, msgspec.msgpack.encode(claims), claims.exp - time.time())
        return claims

    async def forget(self, token: str) -> None:
        await self._store.delete(_key(token))


def _key(token: str) -> str:
    return f"token:{hashlib.sha256(token.encode()).hexdigest()}"
