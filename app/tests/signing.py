"""JWTs made and read by cryptography alone, so that the app's own code proves nothing about itself."""

import base64
import json
from pathlib import Path
from typing import Any

from auth_app.settings import Settings
from auth_app.variants import Levers
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def encode(part: dict | bytes) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def header_of(token: str) -> dict[str, Any]:
    return json.loads(decode(token.partition(".")[0]))


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(decode(token.split(".")[1]))


class Signer:
    """The keys that a variant is to use."""

    def __init__(self, settings: Settings, levers: Levers) -> None:
        name, self.algorithm = {
            "pyjwt-rs256-pem": ("rsa.pem", "RS256"),
            "pyjwt-rs256-key": ("rsa.pem", "RS256"),
            "joserfc-ed25519": ("ed25519.pem", "Ed25519"),
        }[levers.tokens]
        key = serialization.load_pem_private_key(Path(settings.keys.directory, name).read_bytes(), None)
        assert isinstance(key, PrivateKey)
        self.key: PrivateKey = key

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @staticmethod
    def pem_of(key: PrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, claims: dict | bytes, header: dict | None = None, key: PrivateKey | None = None) -> str:
        """Sign claims, or bytes that are none, under any header and with any key."""
        header = {"alg": self.algorithm, "typ": "JWT"} if header is None else header
        signed = f"{encode(header)}.{encode(claims)}"
        return f"{signed}.{encode(_signature(key or self.key, signed.encode()))}"

    def verify(self, token: str) -> None:
        """Raise ``InvalidSignature`` unless the variant's key signed the token."""
        signed, _, signature = token.rpartition(".")
        public = self.key.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(decode(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            public.verify(decode(signature), signed.encode())


def another_key(key: PrivateKey) -> PrivateKey:
    """Make a new key of the same kind."""
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ed25519.Ed25519PrivateKey.generate()


def _signature(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data)
