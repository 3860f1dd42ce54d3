"""Argon2id whose work memory stays with the thread.

libargon2 asks malloc for 64 MiB on every hash; the kernel then clears them page by page, in 16,384
faults that cost about as much as one of the three passes. Here a thread keeps its memory, in huge
pages where the kernel grants them. libargon2 wipes it after each hash as it always does.
"""

import contextlib
import hmac
import mmap
import secrets
import threading
from base64 import b64decode, b64encode
from typing import Any

import argon2
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi
from pwdlib.hashers.argon2 import Argon2Hasher

DIGEST_LENGTH = argon2.DEFAULT_HASH_LENGTH
SALT_LENGTH = argon2.DEFAULT_RANDOM_SALT_LENGTH
DEFAULT_FLAGS = 0
ALLOCATION_FAILED = -22
"""libargon2's ARGON2_MEMORY_ALLOCATION_ERROR."""

_thread = threading.local()


class KeptMemoryHasher(Argon2Hasher):
    """Writes and reads the same hashes as ``Argon2Hasher``; ``memory_cost`` is in KiB."""

    def __init__(self, *, time_cost: int, memory_cost: int, parallelism: int) -> None:
        super().__init__(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
        self._parameters = argon2.Parameters(
            type=Type.ID,
            version=ARGON2_VERSION,
            salt_len=SALT_LENGTH,
            hash_len=DIGEST_LENGTH,
            time_cost=time_cost,
            memory_cost=memory_cost,
            parallelism=parallelism,
        )
        self._prefix = f"$argon2id$v={ARGON2_VERSION}$m={memory_cost},t={time_cost},p={parallelism}$"

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        salt = salt or secrets.token_bytes(SALT_LENGTH)
        return f"{self._prefix}{_encode(salt)}${_encode(self._digest(password, salt))}"

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:  # noqa: A002  (pwdlib's name)
        stored = hash if isinstance(hash, str) else hash.decode()
        try:
            parameters = argon2.extract_parameters(stored)
        except argon2.exceptions.InvalidHashError:
            return False
        if parameters != self._parameters:
            return super().verify(password, stored)
        salt, digest = map(_decode, stored.rsplit("$", 2)[1:])
        return hmac.compare_digest(self._digest(password, salt), digest)

    def _digest(self, password: str | bytes, salt: bytes) -> bytes:
        plain = password.encode() if isinstance(password, str) else password
        out = ffi.new("uint8_t[]", DIGEST_LENGTH)
        # The context does not keep what it points to alive: these names do.
        plain_buffer, salt_buffer = ffi.from_buffer("uint8_t[]", plain), ffi.from_buffer("uint8_t[]", salt)
        context = ffi.new(
            "argon2_context *",
            {
                "version": ARGON2_VERSION,
                "out": out,
                "outlen": DIGEST_LENGTH,
                "pwd": plain_buffer,
                "pwdlen": len(plain),
                "salt": salt_buffer,
                "saltlen": len(salt),
                "t_cost": self._parameters.time_cost,
                "m_cost": self._parameters.memory_cost,
                "lanes": self._parameters.parallelism,
                "threads": self._parameters.parallelism,
                "allocate_cbk": _lend,
                "free_cbk": _take_back,
                "flags": DEFAULT_FLAGS,
            },
        )
        status = core(context, Type.ID.value)
        if status != 0:
            raise argon2.exceptions.HashingError(error_to_str(status))
        return bytes(ffi.buffer(out))


@ffi.callback("int(uint8_t **, size_t)", error=ALLOCATION_FAILED)
def _lend(memory: Any, size: int) -> int:
    """Give libargon2 this thread's memory; it asks in the thread that called it."""
    kept = getattr(_thread, "memory", None)
    if kept is None or len(kept) < size:
        kept = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without huge pages
            kept.madvise(mmap.MADV_HUGEPAGE)
        _thread.memory = kept
        _thread.buffer = ffi.from_buffer("uint8_t[]", kept)
    memory[0] = _thread.buffer
    return 0


@ffi.callback("void(uint8_t *, size_t)")
def _take_back(_memory: Any, _size: int) -> None:
    """The thread keeps it, wiped."""


def _encode(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))
