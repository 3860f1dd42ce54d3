"""The least that FastAPI can do: one async route and two bytes. What /me is compared with."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse


async def ping() -> PlainTextResponse:
    return PlainTextResponse(b"OK")


def create_app() -> FastAPI:
    app = FastAPI(title="ping")
    app.add_api_route("/ping", ping)
    return app
