"""The claims of the two kinds of token."""

from typing import Literal
from uuid import UUID

import msgspec


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds claim; ``type`` keeps one kind from passing as the other."""

    sub: UUID
    iat: float
    """Seconds with a fraction, so that a password change outdates a token of the same second."""
    exp: float
    jti: str


class AccessClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: str
    type: Literal["access"]


class RefreshClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["refresh"]


REQUIRED = ("sub", "iat", "exp", "jti", "type")
