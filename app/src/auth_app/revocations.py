"""Which tokens are dead before they expire.

PostgreSQL knows: a row for each token that was used up or ended, and a version of each user's tokens. No
clock is asked, and neither a restart nor a full memory loses any of it. A refresh token is looked up there
each time.

Access tokens are presented too often for that. Each worker keeps the revocations of access tokens in its own
memory, so that the check of a request is a look into it, the same in every variant. Valkey passes on what one
worker revokes (PUBLISH), normally within a millisecond, and stores nothing of it. A worker that does not hear
Valkey cannot take silence for news: it asks PostgreSQL about each token, and reads all revocations again when
it hears Valkey again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import TimeoutError as SilenceError

from auth_app.db.access import DataAccess
from auth_app.db.revocations import KEPT
from auth_app.errors import INVALID_TOKEN, ApiError
from auth_app.tokens.claims import AccessClaims

BEAT_S = 1.0
"""How long nothing may be heard before a worker asks Valkey for a word."""
PATIENCE = 2
"""Beats without a word after the first: then the connection hangs. Beats, since time alone also passes while a
password is hashed in the event loop, with the answer waiting unread."""
RETRY_S = 0.5
START_S = 2.0
"""How long a start waits for the first look at the revocations; until then each token costs a question."""
MARGIN_S = 3600
"""Above ``KEPT`` revocations, one is forgotten this much later than its tokens expire."""
UNKNOWN = 2**63
"""Above all versions: tokens of this user may be ended at any moment, so each is to be asked about."""

log = logging.getLogger(__name__)

K = TypeVar("K")


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """What workers tell each other: a token is ended, or, without ``jti``, all of a user's before ``ver``."""

    sub: UUID
    until: float
    """When the last of the dead tokens expires, in seconds since 1970."""
    jti: str | None = None
    ver: int = UNKNOWN


class Book(Generic[K]):
    """Versions by key. Only what is old and not among the ``KEPT`` newest is forgotten."""

    def __init__(self) -> None:
        self.versions: dict[K, int] = {}
        self._ends: dict[K, float] = {}
        """In the order of insertion."""

    def set(self, key: K, version: int, end: float) -> None:
        self.versions[key] = version
        self._ends.pop(key, None)
        self._ends[key] = end
        while len(self._ends) > KEPT:
            oldest = next(iter(self._ends))
            if self._ends[oldest] > time.time() - MARGIN_S:
                return
            del self._ends[oldest], self.versions[oldest]


class Revocations:
    """The revocations as one worker knows them. ``number`` is that of Valkey's database."""

    def __init__(self, valkey: Redis, number: int, data: DataAccess) -> None:
        self._valkey = valkey
        self._number = number
        self._data = data
        self._following = False
        self._follower: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self._tokens: Book[str] = Book()
        """By jti of an ended access token."""
        self._users: Book[UUID] = Book()
        """By subject: tokens of an earlier version are dead."""
        self._subscribers: list[Callable[[UUID], None]] = []

    def subscribe(self, tell: Callable[[UUID], None]) -> None:
        """Have ``tell`` called, in every worker, with each user of whom a token was ended."""
        self._subscribers.append(tell)

    async def open(self) -> None:
        self._follower = asyncio.create_task(self._follow())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await self._looked.wait()

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    async def check(self, claims: AccessClaims) -> None:
        """Raise ``ApiError`` 401 for a dead access token, ``OSError`` when that cannot be known."""
        if (
            not self._following
            or claims.jti in self._tokens.versions
            or claims.ver < self._users.versions.get(claims.sub, 0)
        ):
            await self._ask(claims)

    async def announce_token(self, claims: AccessClaims) -> None:
        """Tell all workers that a token is dead; ``RedisError`` when they cannot be told.

        To be called before the row is written, so that nothing has changed if Valkey is away, and after it,
        for a worker that has read the rows in between.
        """
        await self._publish(News(claims.sub, claims.exp, jti=claims.jti))

    async def announce_change(self, user_id: UUID, until: float) -> None:
        """Have all workers ask about each token of a user, until they hear of the new version."""
        await self._publish(News(user_id, until))

    async def announce_version(self, user_id: UUID, until: float, version: int) -> None:
        """Tell all workers that the user's tokens before this version are dead."""
        await self._publish(News(user_id, until, ver=version))

    async def _publish(self, news: News) -> None:
        await announce(self._valkey, self._number, news)
        # At once here: what this worker is asked next is to be answered with it in mind.
        self._apply(news)

    async def _ask(self, claims: AccessClaims) -> None:
        if claims.jti in self._tokens.versions:
            raise ApiError(401, INVALID_TOKEN)
        async with self._data.users() as users:
            if not await users.is_live(claims):
                raise ApiError(401, INVALID_TOKEN)

    async def _follow(self) -> None:
        while True:
            try:
                async with self._valkey.pubsub() as channel:
                    await channel.subscribe(_channel(self._number))
                    await self._hear(channel, (1 + PATIENCE) * BEAT_S)
                    # What was committed before is read, what is committed from now on will be heard.
                    await self._read_all()
                    self._following = True
                    self._looked.set()
                    await self._listen(channel)
            except Exception as error:  # noqa: BLE001  (whatever ended it, it is to begin anew)
                if self._following:
                    log.warning("revocations cannot be followed: %s", error)
            finally:
                # Whatever ended it: nobody may take silence for news.
                self._following = False
                self._looked.set()
            await asyncio.sleep(RETRY_S)

    async def _listen(self, channel: PubSub) -> None:
        """Apply what is heard; raise when nothing is."""
        silent = 0
        while True:
            if await self._hear(channel, BEAT_S):
                silent = 0
            elif silent < PATIENCE:
                silent += 1
                await channel.ping()
            else:
                raise SilenceError("Valkey has not answered")

    async def _hear(self, channel: PubSub, timeout_s: float) -> bool:
        message: Any = await channel.get_message(timeout=timeout_s)
        if message is None:
            return False
        if message["type"] == "message":
            self._apply(msgspec.json.decode(message["data"], type=News))
        return True

    async def _read_all(self) -> None:
        since, position = time.time() - MARGIN_S, 0
        while True:
            async with self._data.users() as users:
                rows = await users.revocations(position, since)
            if not rows:
                return
            for row in rows:
                if row.kind == "user":
                    self._apply(News(UUID(row.key), row.expires_at, ver=row.version))
                else:
                    self._tokens.set(row.key, 0, row.expires_at)
            position = rows[-1].position

    def _apply(self, news: News) -> None:
        if news.jti is not None:
            self._tokens.set(news.jti, 0, news.until)
        else:
            known = self._users.versions.get(news.sub, 0)
            settled = news.ver if known == UNKNOWN else max(known, news.ver)
            self._users.set(news.sub, settled, news.until)
        for tell in self._subscribers:
            tell(news.sub)


async def announce(valkey: Redis, number: int, news: News) -> None:
    """Tell the workers that use this database of Valkey; ``RedisError`` when they cannot be told."""
    await valkey.publish(_channel(number), msgspec.json.encode(news))


def _channel(number: int) -> str:
    # Valkey's databases share their channels.
    return f"auth-app:{number}:revocations"
