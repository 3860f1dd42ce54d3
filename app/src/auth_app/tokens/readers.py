"""How a request's access token is read: verified every time, or once and then remembered."""

import hashlib
import time
from typing import Protocol

import msgspec

from auth_app.caches.formats import UNREADABLE
from auth_app.caches.memory import Memory
from auth_app.caches.store import Store
from auth_app.errors import TOKEN_EXPIRED, ApiError
from auth_app.tokens.claims import AccessClaims
from auth_app.tokens.service import Tokens

MOST_IN_PROCESS = 10_000
"""Tokens in the memory of one worker: about 10 MB."""


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
    """Verifies a token once and remembers its claims for the rest of its life, by way of cashews.

    The key is a digest of the whole token, signature included: a token that differs in one byte is
    another token and is verified. (The article's key was the jti of the unverified payload.)
    """

    def __init__(self, tokens: Tokens, store: Store) -> None:
        self._tokens = tokens
        self._store = store
        self._decoder = msgspec.msgpack.Decoder(AccessClaims)

    async def read(self, token: str) -> AccessClaims:
        key = f"token:{_digest(token).hex()}"
        remembered = await self._store.get(key)
        if remembered is not None:
            try:
                claims = self._decoder.decode(remembered)
            except UNREADABLE:
                pass  # What cannot be read is a miss.
            else:
                if claims.exp <= time.time():
                    raise ApiError(401, TOKEN_EXPIRED)
                return claims
        claims = self._tokens.read_access(token)
        await self._store.set(key, msgspec.msgpack.encode(claims), claims.exp - time.time())
        return claims

    async def forget(self, token: str) -> None:
        await self._store.delete(f"token:{_digest(token).hex()}")


class InProcessReader:
    """The same in the worker's own memory: the ``MOST_IN_PROCESS`` tokens that were presented last.

    Nothing tells the other workers to forget a token; that it is dead, ``Revocations.check`` knows.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._claims: Memory[bytes, AccessClaims] = Memory(MOST_IN_PROCESS)

    async def read(self, token: str) -> AccessClaims:
        digest = _digest(token)
        claims = self._claims.get(digest)
        if claims is None:
            claims = self._tokens.read_access(token)
            self._claims.set(digest, claims, claims.exp)
        return claims

    async def forget(self, token: str) -> None:
        self._claims.drop(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
