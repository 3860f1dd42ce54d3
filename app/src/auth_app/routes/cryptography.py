"""The variant's tokens alone: nothing but signing or verifying is asked for, ten times a request."""

import time
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from auth_app.cookies import ACCESS
from auth_app.dependencies import ServicesDep
from auth_app.errors import NOT_AUTHENTICATED, ApiError

router = APIRouter()

TIMES = 10
"""Operations a request: a request around a single one would cost more than Ed25519 does."""
NOBODY = UUID(int=0)
"""Of no account, and what is signed for it leaves no handler."""


@router.get("/cryptography-sign")
async def cryptography_sign(services: ServicesDep) -> PlainTextResponse:
    for _ in range(TIMES):
        services.tokens.issue_access(NOBODY, "nobody@example.com", time.time())
    return PlainTextResponse(b"OK")


@router.get("/cryptography-verify")
async def cryptography_verify(request: Request, services: ServicesDep) -> PlainTextResponse:
    token = request.cookies.get(ACCESS)
    if not token:
        raise ApiError(401, NOT_AUTHENTICATED)
    # Not through the access reader, which a variant may have remember its answer.
    for _ in range(TIMES):
        services.tokens.read_access(token)
    return PlainTextResponse(b"OK")
