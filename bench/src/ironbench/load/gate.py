"""The gate: one request before any load, its answer held against the expectation."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from ironbench.load.pool import Handler
from ironbench.records import Gate

if TYPE_CHECKING:
    from ironbench.load.client import Connection, ErrorKind
    from ironbench.load.pool import Pool
    from ironbench.records import Expectation

_FAILURES: dict[ErrorKind, str] = {
    "reset": "The server reset the connection instead of answering.",
    "closed": "The server closed the connection before its answer was complete "
    "(an answer needs a Content-Length or chunked encoding).",
    "timeout": "The server did not answer in time.",
    "protocol": "The answer is not HTTP/1.1.",
}


def refused(error: OSError, address: object) -> Gate:
    """Describe a server to which no connection can be made."""
    reason = error.strerror or str(error) or "no answer in time"
    return Gate(ok=False, status=0, detail=f"No connection to {address}: {reason}.", body_bytes=0)


async def pass_gate(pool: Pool, data: bytes, expect: Expectation) -> Gate:
    """Send ``data`` on the first connection and judge the answer."""
    connection = pool.connections[0]
    answer = _Answer(connection)
    connection.parse_for(answer)
    pool.handler = answer
    connection.send(0, data, monotonic_ns())
    await answer.complete.wait()
    pool.handler = Handler()
    if connection.is_open:
        connection.parse_for(connection)
    if answer.error is not None:
        return Gate(ok=False, status=0, detail=_FAILURES[answer.error], body_bytes=len(answer.body))
    detail = judge(expect, answer.status, bytes(answer.body), answer.cookies)
    return Gate(ok=not detail, status=answer.status, detail=detail, body_bytes=len(answer.body))


def judge(expect: Expectation, status: int, body: bytes, cookies: set[str]) -> str:
    """Return what is wrong with an answer as one sentence, or an empty text."""
    if status != expect.status:
        return f"The answer's status is {status}, not {expect.status}."
    if expect.json_keys:
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "The answer's body is not JSON."
        if not isinstance(document, dict):
            return "The answer's body is not a JSON object."
        if missing := [key for key in expect.json_keys if key not in document]:
            return f"The answer's JSON has no {', '.join(missing)}."
    if missing := [name for name in expect.cookies if name not in cookies]:
        return f"The answer sets no cookie {', '.join(missing)}."
    return ""


class _Answer(Handler):
    """Gathers the one answer that is read in full; httptools and the pool call it."""

    def __init__(self, connection: Connection) -> None:
        self.complete = asyncio.Event()
        self.status = 0
        self.error: ErrorKind | None = None
        self.body = bytearray()
        self.cookies: set[str] = set()
        self.on_message_complete = connection.on_message_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"set-cookie":
            self.cookies.add(value.split(b"=", 1)[0].strip().decode("latin-1"))

    def on_body(self, part: bytes) -> None:
        self.body += part

    def answered(self, request: int, status: int, ns: int) -> None:  # noqa: ARG002 - Handler's signature
        self.status = status
        self.complete.set()

    def failed(self, request: int, kind: ErrorKind, ns: int) -> None:  # noqa: ARG002 - Handler's signature
        self.error = kind
        self.complete.set()
