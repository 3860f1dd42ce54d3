"""Which tokens are dead before they expire, known to every worker.

Valkey holds one stream of revocations, an entry for each revoked access token or outdated user. A
worker reads it when it starts and then follows it, so that the check of a request is a look into its
own memory, the same in every variant. What one worker revokes, the others see as soon as Valkey has
sent the entry, normally within a millisecond. A worker that has lost touch with Valkey catches up
before it answers, and answers 503 when it cannot.

Refresh tokens live longer and are presented rarely: they are looked up in Valkey each time.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.tokens.claims import AccessClaims, RefreshClaims

STREAM = "revocations"
BLOCK_S = 1.0
"""How long one read waits for news; must be below the client's socket timeout."""
RETRY_S = 0.5
CLOCK_SLACK_S = 60
"""Entries carry the time of Valkey or of another worker; they are kept this much longer."""

log = logging.getLogger(__name__)


class Revocations:
    def __init__(self, valkey: Redis, *, access_s: int, refresh_s: int) -> None:
        self._valkey = valkey
        self._access_s = access_s
        self._refresh_s = refresh_s
        self._last_id = "0-0"
        self._following = False
        self._follower: asyncio.Task[None] | None = None
        # Insertion order is the order of time, so the oldest come first.
        self._tokens: dict[str, float] = {}
        """jti of a revoked access token -> when it was revoked."""
        self._users: dict[UUID, float] = {}
        """Subject -> tokens issued until then are dead."""
        self._subscribers: list[Callable[[UUID], None]] = []

    def subscribe(self, tell: Callable[[UUID], None]) -> None:
        """Have ``tell`` called, in every worker, with each user of whom a token was ended."""
        self._subscribers.append(tell)

    async def open(self) -> None:
        self._follower = asyncio.create_task(self._follow())

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    async def check(self, claims: AccessClaims) -> None:
        """Raise ``ApiError`` 401 for a dead access token, ``RedisError`` when that is not known."""
        if not self._following:
            await self._read(block_s=None)
        if claims.jti in self._tokens or claims.iat <= self._users.get(claims.sub, 0.0):
            raise ApiError(401, INVALID_TOKEN)

    async def spend(self, claims: RefreshClaims) -> None:
        """Use up a refresh token, once in all workers; ``ApiError`` 401 for a dead one."""
        async with self._valkey.pipeline(transaction=True) as pipe:
            pipe.get(_outdated_key(claims.sub))
            pipe.set(_spent_key(claims.jti), b"1", ex=self._refresh_s, nx=True)
            outdated, spent_now = await pipe.execute()
        if not spent_now or (outdated is not None and claims.iat <= float(outdated)):
            raise ApiError(401, INVALID_TOKEN)

    async def revoke(self, claims: AccessClaims | RefreshClaims) -> None:
        """End one token."""
        if isinstance(claims, RefreshClaims):
            await self._valkey.set(_spent_key(claims.jti), b"1", ex=self._refresh_s)
        else:
            entry = {"jti": claims.jti, "sub": str(claims.sub)}
            await self._publish(entry, self._valkey)
            self._apply(entry, time.time())

    async def outdate(self, user_id: UUID) -> None:
        """End all tokens of a user that were issued until now."""
        now = time.time()
        entry = {"sub": str(user_id), "until": repr(now)}
        async with self._valkey.pipeline(transaction=True) as pipe:
            pipe.set(_outdated_key(user_id), repr(now), ex=self._refresh_s)
            await self._publish(entry, pipe)
            await pipe.execute()
        self._apply(entry, now)

    async def _publish(self, entry: dict[Any, Any], client: Redis) -> None:
        # An entry is of no use once the youngest token that it could end has expired.
        oldest_ms = int((time.time() - self._access_s) * 1000)
        await client.xadd(STREAM, entry, minid=oldest_ms, approximate=True)

    async def _follow(self) -> None:
        while True:
            try:
                await self._read(block_s=None)
                self._following = True
                while True:
                    await self._read(block_s=BLOCK_S)
            except (RedisError, OSError) as error:
                if self._following:
                    log.warning("revocations cannot be followed: %s", error)
            finally:
                # Whatever ended it: nobody may take silence for news.
                self._following = False
            await asyncio.sleep(RETRY_S)

    async def _read(self, *, block_s: float | None) -> None:
        block_ms = None if block_s is None else int(block_s * 1000)
        answer: Any = await self._valkey.xread({STREAM: self._last_id}, block=block_ms)
        for _stream, entries in answer:
            self._take(entries)

    def _take(self, entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for entry_id, fields in entries:
            self._last_id = entry_id.decode()
            entry = {key.decode(): value.decode() for key, value in fields.items()}
            self._apply(entry, int(self._last_id.partition("-")[0]) / 1000)

    def _apply(self, entry: dict[str, str], at: float) -> None:
        user_id = UUID(entry["sub"])
        if "jti" in entry:
            self._tokens[entry["jti"]] = at
        else:
            # Taken out first, so that it goes to the end.
            known = self._users.pop(user_id, 0.0)
            self._users[user_id] = max(known, float(entry["until"]))
        for tell in self._subscribers:
            tell(user_id)
        horizon = time.time() - self._access_s - CLOCK_SLACK_S
        _drop_before(self._tokens, horizon)
        _drop_before(self._users, horizon)


def _drop_before(book: dict[Any, float], horizon: float) -> None:
    while book:
        oldest = next(iter(book))
        if book[oldest] >= horizon:
            return
        del book[oldest]


def _spent_key(jti: str) -> str:
    return f"revoked:{jti}"


def _outdated_key(user_id: UUID) -> str:
    return f"outdated:{user_id}"
