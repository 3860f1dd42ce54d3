"""The application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from auth_app.error_handlers import add_error_handlers
from auth_app.routes import cryptography, serialization, session, system
from auth_app.settings import Settings
from auth_app.variants import levers_of
from auth_app.wiring import add_middlewares, build_services, profile_router, watch_event_loop

API = "/api/v1"


def create_app(settings: Settings, variant: str) -> FastAPI:
    levers = levers_of(variant)
    services = build_services(settings, levers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch_event_loop(levers)
        await services.open()
        try:
            yield
        finally:
            await services.close()

    app = FastAPI(title="auth-app", lifespan=lifespan)
    app.state.services = services
    app.include_router(profile_router(levers), prefix=API)
    app.include_router(session.router, prefix=API)
    app.include_router(system.router)
    app.include_router(serialization.router)
    app.include_router(cryptography.router)
    add_error_handlers(app)
    add_middlewares(app, levers)
    return app
