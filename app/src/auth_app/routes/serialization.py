"""The same fifty exercises, written as JSON in three ways; nothing but serialization is asked for."""

from fastapi import APIRouter

from auth_app.exercises import MODELS, STRUCTS
from auth_app.responses import EncodedResponse, StructResponse
from auth_app.schemas.exercise_pydantic import ExerciseRead

router = APIRouter()


@router.get("/serialization-pydantic")
async def serialization_pydantic() -> list[ExerciseRead]:
    return MODELS


@router.get("/serialization-msgspec", response_model=None)
async def serialization_msgspec() -> StructResponse:
    return StructResponse(STRUCTS)


@router.get("/serialization-jsonable-encoder", response_model=None)
async def serialization_jsonable_encoder() -> EncodedResponse:
    return EncodedResponse(MODELS)
