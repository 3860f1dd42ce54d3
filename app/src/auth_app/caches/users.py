"""The cache of the user behind a token, asked by every request for /me."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

from auth_app.caches.formats import UNREADABLE, CurrentUser, Format
from auth_app.caches.memory import Memory
from auth_app.caches.store import Store
from auth_app.revocations import Revocations

LIFE_S = 30 * 60

MOST_IN_PROCESS = 10_000
"""Users in the memory of one worker: about 10 MB."""

Load = Callable[[UUID], Awaitable[Any]]
"""Gets a user's row from the database; ``ApiError`` 401 when there is none."""


class UserCache(Protocol):
    async def get(self, user_id: UUID, load: Load) -> CurrentUser:
        """Return the user from the cache, else load it."""
        ...

    async def forget(self, user_id: UUID) -> None: ...


class NoUserCache:
    def __init__(self, form: Format[Any]) -> None:
        self._form = form

    async def get(self, user_id: UUID, load: Load) -> CurrentUser:
        return self._form.from_row(await load(user_id))

    async def forget(self, user_id: UUID) -> None:
        """Nothing is kept."""


class CashewsUsers:
    """cashews: a hit is answered from the worker's own memory."""

    def __init__(self, store: Store, form: Format[Any]) -> None:
        self._store = store
        self._form = form
        self._prefix = key_prefix(form)

    async def get(self, user_id: UUID, load: Load) -> CurrentUser:
        key = f"{self._prefix}{user_id}"
        cached = await self._store.get(key)
        if cached is not None:
            try:
                return self._form.decode(cached)
            except UNREADABLE:
                pass  # What cannot be read is a miss.
        user = self._form.from_row(await load(user_id))
        await self._store.set(key, self._form.encode(user), LIFE_S)
        return user

    async def forget(self, user_id: UUID) -> None:
        await self._store.delete(f"{self._prefix}{user_id}")


class InProcessUsers:
    """At most ``MOST_IN_PROCESS`` users in the worker's own memory, each for ``LIFE_S``.

    ``Revocations`` tells every worker which user to forget: after a logout, a password change or
    ``deactivate-user``.
    """

    def __init__(self, form: Format[Any], revocations: Revocations) -> None:
        self._form = form
        self._users: Memory[UUID, CurrentUser] = Memory(MOST_IN_PROCESS)
        self._drops = 0
        revocations.subscribe(self._drop)

    async def get(self, user_id: UUID, load: Load) -> CurrentUser:
        user = self._users.get(user_id)
        if user is None:
            drops = self._drops
            user = self._form.from_row(await load(user_id))
            # What was read before a revocation is not to be kept after it.
            if drops == self._drops:
                self._users.set(user_id, user, time.time() + LIFE_S)
        return user

    async def forget(self, user_id: UUID) -> None:
        self._drop(user_id)

    def _drop(self, user_id: UUID) -> None:
        self._drops += 1
        self._users.drop(user_id)


def key_prefix(form: Format[Any]) -> str:
    """Return the beginning of the keys of users in this form, so that nobody meets those of another variant."""
    return f"user_auth:{form.name}:"
