"""Signing and verifying a JWT: one class for each library."""

from typing import Any, Protocol

from auth_app.errors import INVALID_TOKEN, TOKEN_EXPIRED, ApiError
from auth_app.tokens.claims import REQUIRED


class Codec(Protocol):
    def sign(self, claims: dict[str, Any]) -> str: ...

    def verify(self, token: str) -> dict[str, Any]:
        """Payload of a token with a good signature; anything else is an ``ApiError`` 401."""
        ...


class PyJwtRs256:
    """PyJWT; with ``check_claims`` it also looks at the times and at the presence of claims.

    Its keys are PEM texts, which each call parses again, as published, or key objects.
    """

    def __init__(self, private_pem: str, *, load_key_once: bool, check_claims: bool) -> None:
        import jwt  # noqa: PLC0415  (only one of the two libraries is needed)
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

        self._jwt = jwt
        key = serialization.load_pem_private_key(private_pem.encode(), password=None)
        assert isinstance(key, RSAPrivateKey)
        public_pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._private: Any = key if load_key_once else private_pem
        self._public: Any = key.public_key() if load_key_once else public_pem.decode()
        # The signature is checked either way.
        unchecked = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        self._options: Any = {"require": list(REQUIRED)} if check_claims else unchecked

    def sign(self, claims: dict[str, Any]) -> str:
        return self._jwt.encode(claims, self._private, algorithm="RS256")

    def verify(self, token: str) -> dict[str, Any]:
        try:
            return self._jwt.decode(token, self._public, algorithms=["RS256"], options=self._options)
        except self._jwt.ExpiredSignatureError as error:
            raise ApiError(401, TOKEN_EXPIRED) from error
        # Whatever a library makes of hostile bytes, RecursionError included: they are no token.
        except Exception as error:
            raise ApiError(401, INVALID_TOKEN) from error


class JoserfcEd25519:
    """joserfc with a key that was loaded once; says nothing about the claims."""

    def __init__(self, private_pem: str) -> None:
        from joserfc import jwt  # noqa: PLC0415  (only one of the two libraries is needed)
        from joserfc.jwk import OKPKey  # noqa: PLC0415

        self._jwt = jwt
        self._key = OKPKey.import_key(private_pem)

    def sign(self, claims: dict[str, Any]) -> str:
        return self._jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=["Ed25519"])

    def verify(self, token: str) -> dict[str, Any]:
        try:
            claims = self._jwt.decode(token, self._key, algorithms=["Ed25519"]).claims
        # As above.
        except Exception as error:
            raise ApiError(401, INVALID_TOKEN) from error
        if not isinstance(claims, dict):  # joserfc 1.6 takes any JSON
            raise ApiError(401, INVALID_TOKEN)
        return claims
