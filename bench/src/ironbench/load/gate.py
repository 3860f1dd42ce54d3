"""The gate: one request outside of the window, its answer held against the expectation; and bodies of the window.

The gate is asked before any load, and again when the window has drained. In the window the answers to some requests
are judged by the same rules (see ironbench.load.bodies for which).
"""

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
NOT_JSON = "none"
_JSON_TYPES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


def refused(error: OSError, address: object) -> Gate:
    """Describe a server to which no connection can be made."""
    reason = error.strerror or str(error) or "no answer in time"
    return Gate(ok=False, status=0, detail=f"No connection to {address}: {reason}.", body_bytes=0)


async def pass_gate(pool: Pool, data: bytes, expect: Expectation) -> Gate:
    """Send ``data`` on a free connection of the pool and judge the answer; raises OSError when there is none."""
    connection = await pool.free_one()
    answer = Answer(connection)
    waiting = _Waiting()
    pool.handler = waiting
    connection.send(0, data, monotonic_ns())
    await waiting.complete.wait()
    pool.handler = Handler()
    answer.release()
    if waiting.error is not None:
        return Gate(ok=False, status=0, detail=_FAILURES[waiting.error], body_bytes=len(answer.body))
    body = bytes(answer.body)
    detail = judge(expect, waiting.status, body, answer.cookies)
    return Gate(
        ok=not detail,
        status=waiting.status,
        detail=detail,
        body_bytes=len(body),
        json_type=json_type(body),
    )


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


def json_type(body: bytes) -> str:
    """Return what a body is, as ``Gate.json_type``."""
    try:
        return _JSON_TYPES[type(msgspec.json.decode(body))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOT_JSON


def judge_type(wanted: str, body: bytes) -> str:
    """Return how a body's JSON type differs from that of the gate's answer as one sentence, or an empty text."""
    if wanted and (found := json_type(body)) != wanted:
        return f"The answer's body is {_in_words(found)}, and the gate's was {_in_words(wanted)}."
    return ""


def _in_words(found: str) -> str:
    return "not JSON" if found == NOT_JSON else f"JSON of the type {found}"


class Answer:
    """The one answer that a connection gets next, read in full; httptools calls it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.body = bytearray()
        self.cookies: set[str] = set()
        self.on_message_complete = connection.on_message_complete
        connection.parse_for(self)

    def release(self) -> None:
        """Have the connection parse its next answers by itself again."""
        if self._connection.is_open:
            self._connection.parse_for(self._connection)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"set-cookie":
            self.cookies.add(value.split(b"=", 1)[0].strip().decode("latin-1"))

    def on_body(self, part: bytes) -> None:
        self.body += part


class _Waiting(Handler):
    """Waits for the end of the gate's request."""

    def __init__(self) -> None:
        self.complete = asyncio.Event()
        self.status = 0
        self.error: ErrorKind | None = None

    def answered(self, request: int, status: int, ns: int) -> None:  # noqa: ARG002 - Handler's signature
        self.status = status
        self.complete.set()

    def failed(self, request: int, kind: ErrorKind, ns: int) -> None:  # noqa: ARG002 - Handler's signature
        self.error = kind
        self.complete.set()
