"""Where passwords are hashed and verified: in the event loop, or in a pool of threads."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from pwdlib.hashers.argon2 import Argon2Hasher

from auth_app.errors import busy

T = TypeVar("T")


class Passwords(Protocol):
    async def to_store(self, plain: str) -> str:
        """Value to give to ``Users.add`` and ``Users.set_password``."""
        ...

    async def verify(self, plain: str, stored: str | None) -> bool:
        """Whether the password has this hash; without a hash the same work, and False."""
        ...


class InlinePasswords:
    """The ORM's column type hashes during the flush; everything blocks the event loop."""

    def __init__(self, hasher: Argon2Hasher) -> None:
        self._hasher = hasher
        self._nobody = _stand_in(hasher)

    async def to_store(self, plain: str) -> str:
        return plain

    async def verify(self, plain: str, stored: str | None) -> bool:
        return self._hasher.verify(plain, stored or self._nobody) and stored is not None


class PooledPasswords:
    """Hashing and verification run in threads; what is stored is the finished hash.

    At most ``most`` passwords are in hand or wait; one more is ``ApiError`` 503.
    """

    def __init__(self, hasher: Argon2Hasher, threads: int, most: int) -> None:
        self._hasher = hasher
        self._nobody = _stand_in(hasher)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._most = most
        self._taken = 0

    async def to_store(self, plain: str) -> str:
        return await self._run(self._hasher.hash, plain)

    async def verify(self, plain: str, stored: str | None) -> bool:
        right = await self._run(self._hasher.verify, plain, stored or self._nobody)
        return right and stored is not None

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        if self._taken >= self._most:
            raise busy()
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._taken -= 1


def _stand_in(hasher: Argon2Hasher) -> str:
    """Hash that unknown users are verified against, with the variant's own parameters."""
    return hasher.hash(secrets.token_urlsafe())
