"""JSON responses written by msgspec."""

from typing import Any

import msgspec
from fastapi import Response
from fastapi.encoders import jsonable_encoder


class StructResponse(Response):
    """Content is anything that msgspec encodes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class EncodedResponse(Response):
    """Content goes through jsonable_encoder first, so that it may hold Pydantic models."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(jsonable_encoder(content))
