"""/me as one function that takes the request as it is."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from auth_app.dependencies import find_user, get_access_claims, services_of
from auth_app.responses import StructResponse


class RequestRoute(APIRoute):
    """A route whose function is given the request: FastAPI has nothing to look up or to validate."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


router = APIRouter(prefix="/access", default_response_class=StructResponse, route_class=RequestRoute)


@router.get("/me", response_model=None)
async def me(request: Request) -> StructResponse:
    claims = await get_access_claims(request)
    services = services_of(request)
    return StructResponse(await find_user(claims, services, services.load_profile))
