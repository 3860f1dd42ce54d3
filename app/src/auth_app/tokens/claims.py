"""The claims of the two kinds of token."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds claim; ``type`` keeps one kind from passing as the other."""

    sub: UUID
    iat: float
    exp: float
    jti: str
    ver: Annotated[int, msgspec.Meta(ge=0)] = 0
    """The user's ``token_version`` when the token was issued. A password change raises it, and a token of an
    earlier version is dead, whatever any clock says. A token of version 0 does not spell it out."""


class AccessClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: str
    type: Literal["access"]


class RefreshClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["refresh"]


REQUIRED = ("sub", "iat", "exp", "jti", "type")
