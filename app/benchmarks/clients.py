"""The clients of the servers: one connection each, kept open, every answer checked."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from functools import partial
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ironbench.errors import IronbenchError

from .endpoints import SERIALIZERS

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 30.0
PASSWORD = "Secret_12"  # noqa: S105  (of users who live for one block)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
ACCESS = "/api/v1/access"


class Argon2Client:
    """Has bare Argon2id computed."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._lines = self._socket.makefile("rw")

    def begin(self) -> None:
        """Nothing: the loop waits for ever."""

    def perform(self, endpoint: str, times: int) -> None:
        self._lines.write(f"{endpoint.removeprefix('argon2-')} {times}\n")
        self._lines.flush()
        if self._lines.readline() != "done\n":
            raise IronbenchError("the loop of bare Argon2id ended: its journal says why.")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class HttpClient:
    """Asks an HTTP server; an answer that is not the expected one ends the run."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self._connection.connect()
        self._email = ""
        self._token = ""
        self._me = b""
        self._requests: dict[str, Callable[[], object]] = {
            "ping": self._ping,
            "me": self._get_me,
            "signin": self._sign_in,
            "signup": self._sign_up,
            **{name: partial(self._serialize, name) for name in SERIALIZERS},
        }

    def begin(self) -> None:
        """Connect anew, since uvicorn hangs up on who was silent for 5 s, and see that it answers."""
        self._connection.close()
        self._connection.connect()
        self._ping()

    def perform(self, endpoint: str, times: int) -> None:
        """Send ``times`` requests, each when the one before is answered."""
        request = self._requests[endpoint]
        for _ in range(times):
            request()

    def have_user(self) -> None:
        """Make a user of this server's own, sign in, and know what /me says of it."""
        self._email = self._sign_up()
        self._token = self._sign_in()
        body = self._ask("GET", f"{ACCESS}/me", 200, headers=self._cookie())[1]
        self._expect(json.loads(body)["email"] == self._email, "/me showed somebody else")
        self._me = body

    def refused_ms(self, *, known: bool) -> float:
        """Wall time of a sign-in that is refused: for the password, or because nobody has the email."""
        username = self._email if known else _new_email()
        body = urlencode({"username": username, "password": "Wrong_123"})
        started = time.perf_counter()
        self._ask("POST", f"{ACCESS}/signin", 401, body=body.encode(), headers=FORM)
        return (time.perf_counter() - started) * 1e3

    def close(self) -> None:
        self._connection.close()

    def _ping(self) -> None:
        self._expect(self._ask("GET", "/ping", 200)[1] == b"OK", "/ping did not say OK")

    def _get_me(self) -> None:
        body = self._ask("GET", f"{ACCESS}/me", 200, headers=self._cookie())[1]
        self._expect(body == self._me, "/me changed its answer")

    def _sign_in(self) -> str:
        body = urlencode({"username": self._email, "password": PASSWORD}).encode()
        headers, _ = self._ask("POST", f"{ACCESS}/signin", 204, body=body, headers=FORM)
        cookies = SimpleCookie("; ".join(headers.get_all("Set-Cookie") or []))
        self._expect({"access_token", "refresh_token"} <= cookies.keys(), "signin set not both cookies")
        return cookies["access_token"].value

    def _sign_up(self) -> str:
        email = _new_email()
        new = {"email": email, "password": PASSWORD, "confirmPassword": PASSWORD, "name": "Tester"}
        _, body = self._ask("POST", f"{ACCESS}/signup", 201, body=json.dumps(new).encode(), headers=JSON)
        self._expect(json.loads(body)["email"] == email, "signup showed somebody else")
        return email

    def _serialize(self, endpoint: str) -> None:
        body = self._ask("GET", f"/{endpoint}", 200)[1]
        self._expect(body.count(b'"id"') >= 50, f"/{endpoint} did not show 50 exercises")

    def _cookie(self) -> dict[str, str]:
        return {"Cookie": f"access_token={self._token}"}

    def _ask(
        self,
        method: str,
        path: str,
        status: int,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[http.client.HTTPMessage, bytes]:
        try:
            self._connection.request(method, path, body, headers or {})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise IronbenchError(
                f"{self._name} did not answer {method} {path} ({error!r}): its journal may say why."
            ) from error
        self._expect(
            answer.status == status,
            f"{method} {path} was answered with {answer.status} instead of {status}: {content[:300]!r}",
        )
        return answer.headers, content

    def _expect(self, met: bool, otherwise: str) -> None:
        if not met:
            raise IronbenchError(f"{self._name} does not do what is measured: {otherwise}.")


def _new_email() -> str:
    return f"{secrets.token_hex(8)}@example.com"
