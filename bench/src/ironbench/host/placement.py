"""The placement service: ``python -m ironbench.host.placement FILE``.

It runs for as long as a session's observers do, when the bench has several machines or the generator beside the app
is not root, and tells a generator two things: what time it is here, on every host; and on the app's, which of the app's
workers has accepted the connection from a port of the asker's, which the kernel tells root alone. A connection carries one question, a line of JSON, and gets one
answer (see ironbench.load.placement). Nobody without the session's token is told anything, and whoever has it learns
of connections from their own address to the app's port alone, and of no process outside of the app's cgroup.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import NOT_JSON, encode_record, read_record
from ironbench.host import proc, system
from ironbench.load import sockets
from ironbench.load.client import resolve
from ironbench.load.placement import LONGEST_LINE, Answer, Question
from ironbench.load.spec import split_base_url
from ironbench.records import SCHEMA, Record

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.load.client import Address

CONNECTIONS = 8
"""At a time; one generator needs one."""
IDLE_S = 2.0
"""For a question to come, and for an answer to be taken."""
SPACING_S = 0.05
"""From one answer to the next: they cost CPU time on the machine that is measured."""


class Duty(Record, frozen=True, kw_only=True):
    """What the service is to do; the file that holds it is for root only."""

    schema: int
    address: str
    """Numeric; on the app's host the one that the app listens at."""
    port: int
    app_port: int
    cgroup: str
    """Directory of the app's cgroup; empty on a host without the app."""
    token: str
    life_s: float


def wanted(place: Place) -> bool:
    """Tell whether the session needs the service on this host."""
    groups = place.host.groups
    several = bool(place.host.peers) or ("app" in groups and "load_generators" not in groups)
    beside = {"app", "load_generators"} <= set(groups) and bool(place.host.load_user)
    asked = beside or (several and bool(place.session.placement_token))
    return asked and bool(place.host.placement_port)


def write_duty(place: Place, mount: Path, life_s: float) -> tuple[Address, Question]:
    """Write what the service is to do; return its address and a question that it answers once it runs.

    Raises IronbenchError when there is no one address to answer at, or the app of this host does not run.
    """
    app = next((service for service in place.host.services if service.name == "app"), None)
    host, _, app_port = split_base_url(place.host.base_url)
    variable = "bench_base_url"
    if app is None:
        host, variable = place.host.address, "bench_address"
    try:
        address = resolve(host, place.host.placement_port)
    except OSError as error:
        raise IronbenchError(
            f"The host {host} cannot be resolved here ({error.strerror}); mend {variable}."
        ) from error
    numeric = str(address.sockaddr[0])
    if not host or sockets.endpoint(numeric, app_port)[0].is_unspecified:
        raise IronbenchError(f"{variable} names no single address but {host!r}; name this host's own there.")
    cgroup = ""
    if app is not None:
        cgroup = system.show(place.service_unit(app))["ControlGroup"]
        if not cgroup:
            raise IronbenchError(
                f"{place.service_unit(app)} does not run; run `ironbench host prepare` first."
            )
    # A generator on this host reads it out of the duty, so the controller need not have drawn it.
    token = place.session.placement_token or secrets.token_hex(16)
    duty = Duty(
        schema=SCHEMA,
        address=numeric,
        port=place.host.placement_port,
        app_port=app_port,
        cgroup=str(mount / cgroup.lstrip("/")) if cgroup else "",
        token=token,
        life_s=life_s,
    )
    file = os.open(place.duty, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - of a descriptor, for its mode
        out.write(encode_record(duty))
    return address, Question(schema=SCHEMA, token=token, ports=[], time_only=app is None)


async def serve(duty: Duty) -> None:
    """Answer until ``life_s`` is over; raises OSError when the address cannot be listened at."""
    turn = asyncio.Lock()
    attended = 0

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attended
        attended += 1
        try:
            if attended > CONNECTIONS:
                return
            async with asyncio.timeout(IDLE_S):
                line = await reader.readuntil(b"\n")
            peer, question = writer.get_extra_info("peername")[0], _question(line)
            if question is None:
                return
            if question.time_only:  # costs nothing, and waiting would blur it
                writer.write(msgspec.json.encode(answer(duty, peer, question)) + b"\n")
            else:
                async with turn:
                    writer.write(msgspec.json.encode(answer(duty, peer, question)) + b"\n")
                    await asyncio.sleep(SPACING_S)
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever does not ask, or does not listen, is not answered
        finally:
            attended -= 1
            writer.close()

    server = await asyncio.start_server(attend, duty.address, duty.port, limit=LONGEST_LINE)
    try:
        async with asyncio.timeout(duty.life_s):
            await server.serve_forever()
    except TimeoutError:
        pass
    finally:
        server.close()


def _question(line: bytes) -> Question | None:
    try:
        return msgspec.json.decode(line, type=Question)
    except NOT_JSON:
        return None


def answer(duty: Duty, peer: str, question: Question) -> Answer:
    """Answer a question of ``peer``'s."""
    if not hmac.compare_digest(question.token.encode(errors="replace"), duty.token.encode()):
        return _refusal("refused the token: it is of another session")
    if question.time_only:
        return Answer(schema=SCHEMA, workers=[], owners=[], ns=time.time_ns())
    if not duty.cgroup:
        return _refusal("is not on the app's host")
    server = sockets.endpoint(duty.address, duty.app_port)
    clients = {sockets.endpoint(peer, port) for port in question.ports}
    seen = sockets.look(sockets.sockets(), server, clients, proc.cgroup_pids(Path(duty.cgroup)))
    if not seen.workers:
        return _refusal(f"finds no process of the app that listens at port {duty.app_port}")
    owners = [seen.owners.get(port) for port in question.ports]
    return Answer(schema=SCHEMA, workers=seen.workers, owners=owners, ns=time.time_ns())


def _refusal(reason: str) -> Answer:
    return Answer(schema=SCHEMA, workers=[], owners=[], refused=reason)


def main(file: str) -> None:
    """Serve; raises IronbenchError when that cannot be done."""
    duty = read_record(Path(file), Duty)
    if not duty.token:
        raise IronbenchError(f"{file} holds no token; without one nobody is told anything.")
    try:
        asyncio.run(serve(duty))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise IronbenchError(
            f"The placement service cannot listen at {duty.address}, port {duty.port} ({reason}); set "
            "bench_placement_port to a free one."
        ) from error


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except IronbenchError as refused:
        sys.exit(f"ironbench: {refused}")
