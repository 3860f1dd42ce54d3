"""What a worker keeps in its own memory, without a server."""

import asyncio
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from auth_app.caches.memory import Memory
from auth_app.errors import ApiError
from auth_app.kept_memory import KeptMemoryHasher
from auth_app.keys import ED25519, generate_keys, read_key
from auth_app.tokens import readers
from auth_app.tokens.checks import manual
from auth_app.tokens.codecs import JoserfcEd25519
from auth_app.tokens.service import Tokens
from pwdlib.hashers.argon2 import Argon2Hasher

FAST = {"time_cost": 1, "memory_cost": 256, "parallelism": 1}


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    generate_keys(tmp_path)
    return Tokens(JoserfcEd25519(read_key(tmp_path, ED25519)), manual, access_s=60, refresh_s=60)


def test_memory_gives_up_what_was_asked_for_longest_ago():
    memory: Memory[str, int] = Memory(2)
    end = time.time() + 60
    memory.set("a", 1, end)
    memory.set("b", 2, end)
    assert memory.get("a") == 1
    memory.set("c", 3, end)
    assert [memory.get(key) for key in "abc"] == [1, None, 3]


def test_memory_forgets_at_the_end_and_when_told():
    memory: Memory[str, int] = Memory(3)
    memory.set("past", 1, time.time() - 1)
    memory.set("told", 2, time.time() + 60)
    memory.set("again", 3, time.time() - 1)
    memory.set("again", 4, time.time() + 60)
    memory.drop("told")
    memory.drop("never kept")
    assert [memory.get(key) for key in ("past", "told", "again")] == [None, None, 4]


def test_in_process_reader_verifies_what_it_gave_up(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(readers, "MOST_IN_PROCESS", 2)
    reader = readers.InProcessReader(tokens)
    verified: list[str] = []
    read_access = tokens.read_access

    def read(token: str):
        verified.append(token)
        return read_access(token)

    monkeypatch.setattr(tokens, "read_access", read)
    one, two, three = (tokens.issue_access(uuid4(), "a@example.com", time.time()) for _ in range(3))
    for token in (one, two, one, three, one, two):
        asyncio.run(reader.read(token))
    assert verified == [one, two, three, two]
    asyncio.run(reader.forget(two))
    asyncio.run(reader.read(two))
    assert verified == [one, two, three, two, two]


def test_in_process_reader_lets_no_token_outlive_its_end(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    reader = readers.InProcessReader(tokens)
    token = tokens.issue_access(uuid4(), "a@example.com", time.time())
    claims = asyncio.run(reader.read(token))
    monkeypatch.setattr(time, "time", lambda: claims.exp)
    with pytest.raises(ApiError, match="Token has expired"):
        asyncio.run(reader.read(token))


def test_kept_memory_and_the_library_read_each_others_hashes():
    kept, library = KeptMemoryHasher(**FAST), Argon2Hasher(**FAST)
    for writer, reader in ((kept, library), (library, kept)):
        stored = writer.hash("Str0ng!Pass")
        assert reader.verify("Str0ng!Pass", stored)
        assert not reader.verify("Str0ng!Pas", stored)
    salt = b"0123456789abcdef"
    assert kept.hash("Str0ng!Pass", salt=salt) == library.hash("Str0ng!Pass", salt=salt)


def test_kept_memory_reads_hashes_with_other_parameters_and_refuses_what_is_none():
    kept = KeptMemoryHasher(**FAST)
    other = Argon2Hasher(**FAST | {"memory_cost": 512, "parallelism": 2})
    assert kept.verify("Str0ng!Pass", other.hash("Str0ng!Pass"))
    assert not kept.verify("Str0ng!Pass", "not a hash")


def test_kept_memory_grows_for_another_hasher_in_the_same_thread():
    small, large = KeptMemoryHasher(**FAST), KeptMemoryHasher(**FAST | {"memory_cost": 4096})
    for hasher in (small, large, small):
        assert Argon2Hasher(**FAST).verify("Str0ng!Pass", hasher.hash("Str0ng!Pass"))


def test_kept_memory_of_threads_does_not_mix():
    hasher, library = KeptMemoryHasher(**FAST), Argon2Hasher(**FAST)
    wrong: list[str] = []
    start = threading.Barrier(4)

    def work(name: str) -> None:
        start.wait()
        for number in range(50):
            password = f"{name}-{number}"
            if not library.verify(password, hasher.hash(password)):
                wrong.append(password)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
