"""Asking the placement service of another host: which worker each of our connections belongs to, and its time.

The service is ironbench.host.placement. A connection carries one question and one answer, a line of JSON
each, and the service tells of connections from the asker's own address only.
"""

from __future__ import annotations

import socket
from time import time_ns
from typing import TYPE_CHECKING, Annotated

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import decode_record
from ironbench.load.client import Address
from ironbench.load.sockets import Seen
from ironbench.records import SCHEMA, Record

if TYPE_CHECKING:
    from collections.abc import Collection

    from ironbench.records import PlacementService

LONGEST_LINE = 512 * 1024
"""Bytes; all ports that an address has are fewer."""
_CONNECT_S = 2.0
_ANSWER_S = 5.0
_REFUSAL = 300
"""Characters of the service's own words that are repeated."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Question(Record, frozen=True, kw_only=True):
    """Asks who has accepted the connections from these ports of the asker's, or what time it is."""

    schema: int
    token: str
    ports: list[Port]
    time_only: bool = False


class Answer(Record, frozen=True, kw_only=True):
    """What the service tells."""

    schema: int
    workers: list[int]
    """PIDs of the app's workers, those without a connection too."""
    owners: list[int | None]
    """PID by place in the question's ``ports``; None: no worker has accepted such a connection."""
    ns: int = 0
    """CLOCK_REALTIME of the answering host when it answered."""
    refused: str = ""
    """Why there is nothing else, as half a sentence with the service as its subject; else empty."""


class RemoteFinder:
    """A Finder (see ironbench.load.landing) for an app on another machine."""

    def __init__(self, app: Address, service: PlacementService) -> None:
        self.unknown = ""
        host, _, *rest = app.sockaddr
        self._address = Address(app.family, (host, service.port, *rest))
        self._token = service.token

    def look(self, ports: Collection[int]) -> Seen:
        """Ask; what cannot be told is missing, and ``unknown`` says why."""
        asked = sorted(ports)
        try:
            answer = ask(self._address, Question(schema=SCHEMA, token=self._token, ports=asked))
        except IronbenchError as error:
            self.unknown = f"Which worker a connection belongs to is not known: {error}"
            return Seen([], {})
        owners = {port: pid for port, pid in zip(asked, answer.owners, strict=True) if pid is not None}
        return Seen(answer.workers, owners)


def ask(address: Address, question: Question) -> Answer:
    """Ask the service at ``address``; raises IronbenchError when it does not tell."""
    return _timed(address, question)[0]


def read_clock(address: Address, token: str, times: int) -> tuple[int, int]:
    """Return by how many nanoseconds the clock of the host at ``address`` is ahead of ours, and how sure that is.

    Of so many questions the one that came back soonest decides: the answer was given between its sending and its
    return, so the middle of the two is off by half of that time at most. Raises as ``ask``.
    """
    readings = []
    for _ in range(times):
        answer, sent_ns, back_ns = _timed(
            address, Question(schema=SCHEMA, token=token, ports=[], time_only=True)
        )
        readings.append((back_ns - sent_ns, answer.ns - (sent_ns + back_ns) // 2))
    took_ns, offset_ns = min(readings)
    return offset_ns, -(-took_ns // 2)


def _timed(address: Address, question: Question) -> tuple[Answer, int, int]:
    """Ask, and return the answer with the times of sending and of its return."""

    def failed(what: str) -> IronbenchError:
        return IronbenchError(f"the placement service at {address} {what}.")

    try:
        line, sent_ns, back_ns = _exchange(address, msgspec.json.encode(question) + b"\n")
    except TimeoutError:
        raise failed(f"did not answer within {_ANSWER_S:g} s") from None
    except OSError as error:
        raise failed(f"cannot be reached ({error.strerror})") from error
    if not line.endswith(b"\n"):
        raise failed("closed the connection without a whole answer")
    try:
        answer = decode_record(line, Answer, "the answer")
    except IronbenchError as error:
        raise failed("answered something else; install the same ironbench on both machines") from error
    if answer.refused:
        raise failed(answer.refused[:_REFUSAL])
    if len(answer.owners) != len(question.ports):
        raise failed(f"told of {len(answer.owners)} of {len(question.ports)} connections")
    return answer, sent_ns, back_ns


def _exchange(address: Address, line: bytes) -> tuple[bytes, int, int]:
    with socket.socket(address.family, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_S)
        try:
            connection.connect(address.sockaddr)
        except TimeoutError as error:
            raise OSError(None, f"no connection within {_CONNECT_S:g} s") from error
        connection.settimeout(_ANSWER_S)
        with connection.makefile("rb") as file:
            sent_ns = time_ns()
            connection.sendall(line)
            answered = file.readline(LONGEST_LINE)
            return answered, sent_ns, time_ns()
