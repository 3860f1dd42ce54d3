"""signup and /me with msgspec Structs, written by msgspec."""

from fastapi import APIRouter

from auth_app.dependencies import CurrentUserDep, ServicesDep, UsersDep
from auth_app.responses import StructResponse
from auth_app.routes.bodies import BodyRoute
from auth_app.schemas.bodies_in import Signup
from auth_app.schemas.struct_out import FullUser

signup_router = APIRouter(prefix="/access", default_response_class=StructResponse, route_class=BodyRoute)
me_router = APIRouter(prefix="/access", default_response_class=StructResponse)


@signup_router.post("/signup", response_model=None)
async def signup(body: Signup, services: ServicesDep, users: UsersDep) -> StructResponse:
    password = await services.passwords.to_store(body.password)
    user = await users.add(email=body.email, name=body.name, password=password)
    return StructResponse(FullUser.from_row(user), status_code=201)


@me_router.get("/me", response_model=None)
async def me(user: CurrentUserDep) -> StructResponse:
    return StructResponse(user)
