"""Where passwords are hashed and verified: in the event loop, or in a pool of threads."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from advanced_alchemy.types.password_hash.base import HashedPassword, HashingBackend
from advanced_alchemy.types.password_hash.pwdlib import PwdlibHasher
from pwdlib.hashers.argon2 import Argon2Hasher

POOL_THREADS = 2
"""The article's number: its server had two cores."""


class StoredAsGiven(PwdlibHasher):
    """Backend of the password column when the value is hashed before it reaches the ORM."""

    def __init__(self) -> None:
        # Verification takes its parameters from the stored hash, not from this hasher.
        super().__init__(Argon2Hasher())

    def hash(self, value: str | bytes) -> str:
        return value if isinstance(value, str) else value.decode()


class Passwords(Protocol):
    @property
    def column_backend(self) -> HashingBackend:
        """What the ORM's password column does to a value on its way into the database."""
        ...

    async def to_store(self, plain: str) -> str:
        """Value to give to the ORM."""
        ...

    async def verify(self, plain: str, stored: HashedPassword | None) -> bool:
        """Whether the password is right; without a stored one the same work, and False."""
        ...


class InlinePasswords:
    """The column type hashes during the flush; everything blocks the event loop."""

    def __init__(self, hasher: Argon2Hasher) -> None:
        self.column_backend = PwdlibHasher(hasher)
        self._nobody = _stand_in(hasher)

    async def to_store(self, plain: str) -> str:
        return plain

    async def verify(self, plain: str, stored: HashedPassword | None) -> bool:
        return (stored or self._nobody).verify(plain) and stored is not None


class PooledPasswords:
    """Hashing and verification run in threads; the column takes the finished hash."""

    def __init__(self, hasher: Argon2Hasher) -> None:
        self.column_backend = StoredAsGiven()
        self._hasher = hasher
        self._nobody = _stand_in(hasher)
        self._pool = ThreadPoolExecutor(max_workers=POOL_THREADS, thread_name_prefix="argon2")

    async def to_store(self, plain: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, plain)

    async def verify(self, plain: str, stored: HashedPassword | None) -> bool:
        check = (stored or self._nobody).verify
        right = await asyncio.get_running_loop().run_in_executor(self._pool, check, plain)
        return right and stored is not None


def _stand_in(hasher: Argon2Hasher) -> HashedPassword:
    """Hash that unknown users are verified against, with the variant's own parameters."""
    return HashedPassword(hasher.hash(secrets.token_urlsafe()), PwdlibHasher(hasher))
