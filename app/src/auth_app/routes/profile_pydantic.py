"""signup and /me with Pydantic response models."""

from fastapi import APIRouter
from pydantic import BaseModel

from auth_app.dependencies import CurrentUserDep, ServicesDep, UsersDep
from auth_app.routes.bodies import BodyRoute
from auth_app.schemas.bodies_in import Signup
from auth_app.schemas.pydantic_out import FullUser


def add_routes(router: APIRouter, me_model: type[BaseModel]) -> APIRouter:
    """Register both below ``/access``; the router says which response class writes the bodies."""

    async def signup(body: Signup, services: ServicesDep, users: UsersDep) -> object:
        password = await services.passwords.to_store(body.password)
        return await users.add(email=body.email, name=body.name, password=password)

    router.add_api_route(
        "/access/signup",
        signup,
        methods=["POST"],
        status_code=201,
        response_model=FullUser,
        route_class_override=BodyRoute,
    )

    @router.get("/access/me", response_model=me_model)
    async def me(user: CurrentUserDep) -> object:
        return user

    return router
