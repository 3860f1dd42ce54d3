"""/ping and /health."""

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from auth_app.dependencies import ServicesDep
from auth_app.responses import StructResponse
from auth_app.services import Services

router = APIRouter()

CHECK_TIMEOUT_S = 2.0


@router.get("/ping")
def ping() -> PlainTextResponse:
    # Not async, as published: FastAPI runs it in a thread, and the article's figures include that.
    return PlainTextResponse(b"OK")


@router.get("/health")
async def health(services: ServicesDep) -> Response:
    database, cache = await asyncio.gather(_is_up(services.data.ping()), _is_up(_ask_cache(services)))
    up = database and cache
    body = {
        "status": "ok" if up else "unavailable",
        "database": "online" if database else "offline",
        "cache": "online" if cache else "offline",
    }
    return StructResponse(body, status_code=200 if up else 503)


async def _ask_cache(services: Services) -> None:
    await services.valkey.ping()


async def _is_up(question: Awaitable[None]) -> bool:
    try:
        await asyncio.wait_for(question, CHECK_TIMEOUT_S)
    except Exception:  # noqa: BLE001  (whatever a driver raises, the answer is no)
        return False
    return True
