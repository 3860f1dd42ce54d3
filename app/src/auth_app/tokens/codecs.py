"""Signing and verifying a JWT: one class for each library and algorithm."""

from typing import Any, Protocol

from auth_app.errors import INVALID_TOKEN, TOKEN_EXPIRED, ApiError
from auth_app.tokens.claims import REQUIRED


class Codec(Protocol):
    def sign(self, claims: dict[str, Any]) -> str: ...

    def verify(self, token: str) -> dict[str, Any]:
        """Payload of a token with a good signature; anything else is an ``ApiError`` 401."""
        ...


class PyJwtRs256:
    """PyJWT with the PEM text on every call, as published: each call parses the key again."""

    def __init__(self, private_pem: str) -> None:
        import jwt  # noqa: PLC0415  (only one of the two libraries is needed)
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        self._jwt = jwt
        self._private_pem = private_pem
        key = serialization.load_pem_private_key(private_pem.encode(), password=None)
        self._public_pem = (
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def sign(self, claims: dict[str, Any]) -> str:
        return self._jwt.encode(claims, self._private_pem, algorithm="RS256")

    def verify(self, token: str) -> dict[str, Any]:
        try:
            return self._jwt.decode(
                token, self._public_pem, algorithms=["RS256"], options={"require": list(REQUIRED)}
            )
        except self._jwt.ExpiredSignatureError as error:
            raise ApiError(401, TOKEN_EXPIRED) from error
        except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise ApiError(401, INVALID_TOKEN) from error


class JoserfcEd25519:
    """joserfc with a key that was loaded once; says nothing about the claims."""

    def __init__(self, private_pem: str) -> None:
        from joserfc import jwt  # noqa: PLC0415  (only one of the two libraries is needed)
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import OKPKey  # noqa: PLC0415

        self._jwt = jwt
        self._errors = (JoseError, ValueError, TypeError)
        self._key = OKPKey.import_key(private_pem)

    def sign(self, claims: dict[str, Any]) -> str:
        return self._jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=["Ed25519"])

    def verify(self, token: str) -> dict[str, Any]:
        try:
            return self._jwt.decode(token, self._key, algorithms=["Ed25519"]).claims
        except self._errors as error:
            raise ApiError(401, INVALID_TOKEN) from error
