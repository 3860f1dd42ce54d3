# ruff: noqa: INP001 - found by --app-dir
"""The servers of the benchmark: bare ASGI, without a framework."""

import time

BLOCK_S = 0.15
_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
_BODY = {"type": "http.response.body", "body": b"ok"}


async def bare(scope, receive, send):  # noqa: ANN001, ANN201, ARG001 - ASGI's signature
    """Answer at once."""
    await send(_START)
    await send(_BODY)


async def blocking(scope, receive, send):  # noqa: ANN001, ANN201, ARG001 - ASGI's signature
    """Answer after 150 ms in which the whole worker stands still, as hashing a password does."""
    time.sleep(BLOCK_S)  # noqa: ASYNC251 - that is what it is for
    await send(_START)
    await send(_BODY)
