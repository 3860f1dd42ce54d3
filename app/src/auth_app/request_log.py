"""One line of JSON on stdout for each request."""

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog
from asgi_correlation_id import correlation_id
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class StructLogMiddleware:
    """Logs method, path, status, duration and the request's id; never what a request or answer holds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.wrap_logger(
            structlog.BytesLogger(sys.stdout.buffer),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _as_json,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        ).bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # What the client gets when the application raises before it has answered.
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, note_status)
        finally:
            self._log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round((time.perf_counter() - began) * 1000, 3),
                request_id=correlation_id.get(),
            )


def _as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
    return msgspec.json.encode(event)
