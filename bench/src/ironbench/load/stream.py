"""What is sent: the requests of a run by number, from a template or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from ironbench.errors import IronbenchError
from ironbench.load.template import HEADER_NAME, HEADER_VALUE, OURS, PATH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ironbench.load.template import Template

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Those whose answers end where their headers say; the answer to HEAD has a length and no body."""


class Stream(Protocol):
    """The requests of one run; the same number gives the same bytes in every process."""

    def render(self, number: int) -> bytes:
        """Return request ``number``: those of the warm-up and the window."""
        ...

    def render_gate(self, number: int) -> bytes:
        """Return the gate's request, with a number that no other request has."""
        ...

    def render_many(self, numbers: Sequence[int]) -> list[bytes]:
        """Return several; equal ones are one and the same object where that costs nothing."""
        ...


class FileRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a file of requests. Sent as it stands: no ``{fields}`` are filled in."""

    method: str
    path: str
    headers: dict[str, str] = {}
    """Without Host and Content-Length, which the generator sets."""
    body: str = ""
    """Sent as UTF-8."""


class FileStream:
    """The gate's request from the template, then the file's lines in turn, from the first again."""

    def __init__(self, template: Template, requests: Sequence[bytes]) -> None:
        self._template = template
        self._requests = requests

    def render(self, number: int) -> bytes:
        """Return request ``number``, from 1."""
        return self._requests[(number - 1) % len(self._requests)]

    def render_gate(self, number: int) -> bytes:
        """Return the template's request."""
        return self._template.render(number)

    def render_many(self, numbers: Sequence[int]) -> list[bytes]:
        """Return several."""
        return [self.render(number) for number in numbers]


def read_requests(path: Path, host: str) -> list[bytes]:
    """Read a file of FileRequests, one JSON object a line, as the bytes to send to ``host``.

    Raises IronbenchError that names the line for anything that cannot be sent.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise IronbenchError(f"The requests file {path} cannot be read: {error.strerror}.") from error
    requests = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = msgspec.json.decode(line, type=FileRequest)
        except msgspec.DecodeError as error:
            raise IronbenchError(
                f"Line {number} of {path} is not a request with method, path, headers and body: {error}."
            ) from error
        if complaint := _complaint(request):
            raise IronbenchError(f"Line {number} of {path} has {complaint}.")
        requests.append(_render(request, host))
    if not requests:
        raise IronbenchError(f"The requests file {path} is empty; write one JSON object a line.")
    return requests


def _complaint(request: FileRequest) -> str:
    if request.method not in _METHODS:
        return f"the method {request.method!r}; use {', '.join(_METHODS)}"
    if not PATH.fullmatch(request.path):
        return f"the path {request.path!r}; it must start with / and hold only visible ASCII"
    for name, value in request.headers.items():
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            return f"the header {name!r}, whose name or value HTTP does not allow"
        if name.lower() in OURS - {"cookie"}:
            return f"the header {name}, which the generator sets; remove it"
    return ""


def _render(request: FileRequest, host: str) -> bytes:
    body = request.body.encode()
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if body or request.method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
