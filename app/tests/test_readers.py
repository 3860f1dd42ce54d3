"""The remembered token, without a server."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import pytest
from auth_app.errors import ApiError
from auth_app.keys import ED25519, generate_keys, read_key
from auth_app.tokens.checks import manual
from auth_app.tokens.codecs import JoserfcEd25519
from auth_app.tokens.readers import RememberingReader
from auth_app.tokens.service import Tokens


class Keeper:
    """A store that never drops anything, as a worker's copy does until Valkey speaks."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def set(self, key: str, value: bytes, life_s: float) -> None:
        self.kept[key] = value

    async def delete(self, key: str) -> None:
        self.kept.pop(key, None)


def test_remembered_token_expires_even_if_the_store_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    generate_keys(tmp_path)
    tokens = Tokens(JoserfcEd25519(read_key(tmp_path, ED25519)), manual, access_s=60, refresh_s=60)
    store = Keeper()
    reader = RememberingReader(tokens, store)
    token = tokens.issue_access(uuid4(), "a@example.com", time.time())
    claims = asyncio.run(reader.read(token))
    assert asyncio.run(reader.read(token)) == claims
    assert len(store.kept) == 1
    monkeypatch.setattr(time, "time", lambda: claims.exp)
    with pytest.raises(ApiError, match="Token has expired"):
        asyncio.run(reader.read(token))
