"""Routes that read a body read only so much of it."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from auth_app.dependencies import services_of


class BodyRoute(APIRoute):
    """A body longer than the limit is answered with 413, before it is read whole."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_limited(request: Request) -> Response:
            most = services_of(request).settings.limits.body_bytes
            announced = request.headers.get("content-length")
            if announced is None:
                return await handle(Request(request.scope, _limited(request.receive, most)))
            # The server has seen to it that this is a number and that the body is so long.
            if int(announced) > most:
                raise _too_long()
            return await handle(request)

        return handle_limited


def _limited(receive: Receive, most: int) -> Receive:
    read = 0

    async def receive_limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise _too_long()
        return message

    return receive_limited


def _too_long() -> HTTPException:
    # Not an ApiError: FastAPI takes those, while it reads a body, for a body that it cannot read.
    return HTTPException(413, "The body is too long")
