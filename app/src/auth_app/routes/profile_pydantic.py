"""signup and /me with Pydantic response models, written through jsonable_encoder."""

from fastapi import APIRouter

from auth_app.dependencies import CurrentUserDep, ServicesDep, UserServiceDep
from auth_app.responses import EncodedResponse
from auth_app.schemas.bodies_in import Signup
from auth_app.schemas.pydantic_out import User

router = APIRouter(prefix="/access", default_response_class=EncodedResponse)


@router.post("/signup", status_code=201, response_model=User)
async def signup(body: Signup, services: ServicesDep, users: UserServiceDep) -> object:
    password = await services.passwords.to_store(body.password)
    return await users.add(email=body.email, name=body.name, password=password)


@router.get("/me", response_model=User)
async def me(user: CurrentUserDep) -> object:
    return user
