"""Turns a request template into the bytes of HTTP/1.1 requests."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ironbench.records import RequestTemplate

_FIELD = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
OURS = frozenset({"host", "content-length", "transfer-encoding", "cookie"})
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # token, RFC 9110 5.6.2
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 5.5
_COOKIE_VALUE = re.compile(r'"?[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"?')  # RFC 6265 4.1.1
PATH = re.compile(r"/[\x21-\x7e]*")


def process_token(run: str) -> str:
    """Make the part of ``{unique}`` that differs between runs and between starts of the generator.

    17 lower-case characters, a letter first: the run's key goes in as part of a digest together with
    the process's start, so every variant's bodies have the same length and the result fits wherever
    a user name or the local part of an e-mail address does.
    """
    start = f"{run}\0{time.time_ns()}\0{os.getpid()}\0".encode() + os.urandom(16)
    return "u" + hashlib.blake2b(start, digest_size=8).hexdigest()


class Template:
    """Renders the requests of one run by number, so that its processes need not agree on anything.

    Request ``number`` has the ``{unique}`` value token + number (8 digits) and the user
    ``users[number % len(users)]``. ``host`` is the value of the Host header.
    """

    def __init__(
        self, request: RequestTemplate, host: str, users: Sequence[dict[str, str]], token: str
    ) -> None:
        """Check everything that a request could be refused for; raises IronbenchError."""
        self._request = request
        self._host = host
        self._users = users
        self._token = token
        self._constant = self._check()
        # A user's field that cannot stand in a path, header or cookie shows when it is rendered.
        for number in range(max(1, len(users) if not self._constant else 1)):
            self.render(number)

    def render_gate(self, number: int) -> bytes:
        """Build the gate's request, which is like all others."""
        return self.render(number)

    def render_many(self, numbers: Sequence[int]) -> list[bytes]:
        """Render several; one and the same object where the template holds no field."""
        if self._constant:
            return [self.render(0)] * len(numbers)
        return [self.render(number) for number in numbers]

    def render(self, number: int) -> bytes:
        """Build request ``number``: request line, headers, empty line, body."""
        request = self._request
        values = {"unique": f"{self._token}{number:08d}"}
        if self._users:
            user = self._users[number % len(self._users)]
            values |= {f"user.{name}": value for name, value in user.items()}

        def fill(text: str, escape: Callable[[str], str] = str) -> str:
            return _FIELD.sub(lambda field: escape(values[field[1]]), text)

        path = _valid(PATH, fill(request.path, lambda value: quote(value, safe="")), "path", "visible ASCII")
        lines = [f"{request.method} {path} HTTP/1.1", f"Host: {self._host}"]
        for name, value in request.headers.items():
            lines.append(
                f"{name}: {_valid(HEADER_VALUE, fill(value), f'header {name}', 'one line of latin-1')}"
            )
        if request.cookies:
            cookies = (
                f"{name}={_valid(_COOKIE_VALUE, fill(value), f'cookie {name}', 'RFC 6265 cookie characters')}"
                for name, value in request.cookies.items()
            )
            lines.append("Cookie: " + "; ".join(cookies))
        body = b""
        if request.json is not None:
            body = msgspec.json.encode({key: fill(value) for key, value in request.json.items()})
        elif request.form is not None:
            body = urlencode({key: fill(value) for key, value in request.form.items()}).encode()
        if (kind := self._content_type()) is not None:
            lines.append(f"Content-Type: {kind}")
        if body or request.method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _content_type(self) -> str | None:
        if any(name.lower() == "content-type" for name in self._request.headers):
            return None
        if self._request.json is not None:
            return "application/json"
        return None if self._request.form is None else "application/x-www-form-urlencoded"

    def _check(self) -> bool:
        """Refuse what no user's fields can mend; True when all requests are the same bytes."""
        request = self._request
        if request.json is not None and request.form is not None:
            raise IronbenchError("The request has both json and form; give at most one of them.")
        for name in request.headers:
            _valid(HEADER_NAME, name, "header name", "letters, digits and hyphens")
            if name.lower() in OURS:
                raise IronbenchError(
                    f"The header {name} is set by the generator; remove it from the request."
                )
        for name in request.cookies:
            _valid(HEADER_NAME, name, "cookie name", "letters, digits and hyphens")
        parts = [request.path, *request.headers.values(), *request.cookies.values()]
        parts += [*(request.json or {}).values(), *(request.form or {}).values()]
        fields = {field for part in parts for field in _FIELD.findall(part)}
        for field in sorted(fields - {"unique"}):
            if not field.startswith("user."):
                raise IronbenchError(
                    f"The request holds {{{field}}}, which is not a field; use {{unique}} or {{user.FIELD}}."
                )
            if not self._users:
                raise IronbenchError(
                    f"The request holds {{{field}}}; name a users_file with the seeded users."
                )
            name = field.removeprefix("user.")
            for line, user in enumerate(self._users, 1):
                if name not in user:
                    known = ", ".join(sorted(user))
                    raise IronbenchError(
                        f"User {line} of the users file has no field {name!r}; it has {known}."
                    )
        return not fields


def _valid(pattern: re.Pattern[str], text: str, what: str, allowed: str) -> str:
    if not pattern.fullmatch(text):
        raise IronbenchError(f"The request's {what} is {text!r}; it may hold only {allowed}.")
    return text
