"""The two signing keys: made once, kept 0600, read as PEM text."""

import os
import stat
from pathlib import Path

from auth_app.errors import AuthAppError

RSA = "rsa.pem"
ED25519 = "ed25519.pem"


def generate_keys(directory: Path) -> bool:
    """Make the keys that are missing; return whether there was any."""
    missing = [name for name in (RSA, ED25519) if not (directory / name).exists()]
    for name in (RSA, ED25519):
        if name not in missing:
            _refuse_if_open(directory / name)
    if not missing:
        return False

    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (slow import, rarely needed)
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa  # noqa: PLC0415

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in missing:
        key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if name == RSA
            else ed25519.Ed25519PrivateKey.generate()
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # A name of its own first, so that a reader never sees half a key.
        temporary = directory / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        temporary.rename(directory / name)
    return True


def read_key(directory: Path, name: str) -> str:
    """PEM text of a private key."""
    path = directory / name
    try:
        _refuse_if_open(path)
        return path.read_text(encoding="ascii")
    except OSError as error:
        msg = f"key {path} cannot be read ({error.strerror}): make it with `auth-app keys generate`."
        raise AuthAppError(msg) from error


def _refuse_if_open(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != 0o600:
        msg = f"key {path} has mode {mode:04o}: it must be 0600 (chmod 0600 {path})."
        raise AuthAppError(msg)
