"""One user's way through the app, recorded once for each server: answers, and what the database saw."""

import time
from collections.abc import Callable

import httpx
import msgspec
from harness import PASSWORD, App, new_email
from wire import Relay, Traffic


class Exchange(msgspec.Struct, frozen=True):
    response: httpx.Response
    database: Traffic


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    email: str
    begun_at: float
    """Before the first request, in seconds since 1970."""
    signup: Exchange
    signin: Exchange
    me_miss: Exchange
    """The first look, before anything is cached."""
    me_hit: Exchange
    """The second look, at the same worker."""
    duplicate: Exchange
    wrong_password: Exchange
    unknown_user: Exchange


def visit(app: App, relay: Relay) -> Visit:
    """Send all requests over one connection, that is to one worker."""
    email, begun_at = new_email(), time.time()
    body = {"email": email.upper(), "password": PASSWORD, "confirmPassword": PASSWORD, "name": "Tester"}
    # What a worker reads when it starts is no request's.
    with app.both_workers():
        pass
    with app.client() as client:

        def exchange(send: Callable[[], httpx.Response]) -> Exchange:
            answers = []
            traffic = relay.observe(lambda: answers.append(send()))
            return Exchange(answers[0], traffic)

        def signin(username: str, password: str) -> Exchange:
            return exchange(lambda: client.post("/signin", data={"username": username, "password": password}))

        # What an engine asks once in its life, and connections that are to stay, are not the requests'.
        client.get(f"{app.url}/health")
        return Visit(
            email=email,
            begun_at=begun_at,
            signup=exchange(lambda: client.post("/signup", json=body)),
            signin=signin(email.upper(), PASSWORD),
            me_miss=exchange(lambda: client.get("/me")),
            me_hit=exchange(lambda: client.get("/me")),
            duplicate=exchange(lambda: client.post("/signup", json=body | {"email": email})),
            wrong_password=signin(email, "Wrong_12"),
            unknown_user=signin(new_email(), PASSWORD),
        )
