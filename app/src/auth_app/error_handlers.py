"""Errors as answers."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from auth_app.errors import RETRY_LATER, ApiError
from auth_app.responses import StructResponse

log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    for outage in (RedisError, OSError):
        app.add_exception_handler(outage, _outage)
    app.add_exception_handler(Exception, _unexpected)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return StructResponse({"detail": error.detail}, status_code=error.status, headers=error.headers)


async def _http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return StructResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = [
        # The first part of the location is body, query or cookie.
        {"type": each["type"], "field": ".".join(map(str, each["loc"][1:])), "message": each["msg"]}
        for each in error.errors()
    ]
    return StructResponse({"message": "Validation Error", "details": details}, status_code=422)


async def _outage(_request: Request, error: Exception) -> Response:
    # Without the database nobody can tell who is who, nor which tokens are dead.
    log.error("a backing service is away: %s", error)
    return StructResponse({"detail": "Service unavailable"}, status_code=503, headers=RETRY_LATER)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return StructResponse({"detail": "Internal Server Error"}, status_code=500)
