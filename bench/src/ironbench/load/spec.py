"""Reads and checks what one generator process is to do, before anything is connected."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from ironbench.errors import IronbenchError
from ironbench.load.bodies import choose
from ironbench.load.client import Address, resolve
from ironbench.load.limits import background_refusals, share_refusals
from ironbench.load.schedule import Schedule, deal, make_schedule, share_of
from ironbench.load.stream import FileStream, Stream, read_requests
from ironbench.load.template import Template, process_token
from ironbench.records import SCHEMA, LoadSpec
from ironbench.refusal import why_refused

if TYPE_CHECKING:
    from ironbench.records import Load

_URLS = "http://HOST, http://HOST:PORT or http+unix://PATH with each / of the path as %2F"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is settled of one load before the first connection."""

    spec: LoadSpec
    address: Address
    warmup: Schedule
    """This generator's share, as ``window`` is."""
    window: Schedule
    first_number: int
    """Of the window's requests in the whole load: the warm-up's come before, and the gate's is 0."""
    gate_after_number: int
    """Of the gate's request after the window: the one after the window's last."""
    chosen: frozenset[int]
    """The window's requests whose answers are read, by number in the whole window."""
    stream: Stream
    threads: range
    """This generator's, of the threads of the whole load."""
    processes: int


def prepare(path: Path) -> list[Prepared]:
    """Read the LoadSpec at ``path`` and settle it; raises IronbenchError for anything that cannot be used."""
    return settle(read_spec(path))


def settle(whole: LoadSpec) -> list[Prepared]:
    """Settle schedules, requests, address and number of processes.

    The load itself comes first; its background, if there is one, is second and has a spec of its own.
    Raises IronbenchError for anything that cannot be used.
    """
    specs = _one_a_load(whole)
    address, authority = _resolve_base_url(specs[0].base_url)
    users = read_users(Path(specs[0].users_file)) if specs[0].users_file is not None else []
    # More processes than CPUs would only wait for each other.
    cpus = max(1, len(os.sched_getaffinity(0)) // len(specs))
    loads = []
    for spec, whose in zip(specs, ("", "background:"), strict=False):
        load = spec.load
        if load.placement == "balanced" and address.family == socket.AF_UNIX:
            raise IronbenchError(
                "load.placement is balanced, and a Unix socket does not tell which worker a connection belongs "
                "to; use as_landed or a TCP address."
            )
        stream: Stream = Template(spec.request, authority, users, process_token(spec.run))
        if spec.requests_file is not None:
            stream = FileStream(stream, read_requests(Path(spec.requests_file), authority))
        threads = deal(range(load.threads), spec.generators)[spec.generator]
        warmup = make_schedule(load, spec.warmup_s, f"{spec.seed}:{whose}warm-up")
        window = make_schedule(load, spec.window_s, f"{spec.seed}:{whose}window")
        one = Prepared(
            spec=spec,
            address=address,
            warmup=share_of(warmup, load, threads),
            window=share_of(window, load, threads),
            first_number=1 + warmup.count,
            gate_after_number=1 + warmup.count + window.count,
            # The expectation is of the gate's request; what is in a file answers with what it likes.
            chosen=choose(window.count, f"{spec.seed}:{spec.run}:{whose}bodies")
            if spec.requests_file is None
            else frozenset(),
            stream=stream,
            threads=threads,
            processes=min(spec.processes or cpus, len(threads)),
        )
        loads.append(one)
    return loads


def _one_a_load(spec: LoadSpec) -> list[LoadSpec]:
    """Return the spec, and one of its background alone if it has one."""
    if spec.background is None:
        return [spec]
    background = msgspec.structs.replace(
        spec,
        request=spec.background.request,
        load=spec.background.load,
        requests_file=None,
        background=None,
        processes=None,
    )
    return [spec, background]


def read_spec(path: Path) -> LoadSpec:
    """Read and check a LoadSpec (JSON)."""
    data = _read(path, "load spec")
    try:
        schema = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema")
        if schema is not None and bytes(schema) != str(SCHEMA).encode():
            raise IronbenchError(
                f"{path} has schema {bytes(schema).decode()}; this ironbench reads schema {SCHEMA} only."
            )
        spec = msgspec.json.decode(data, type=LoadSpec)
    except msgspec.DecodeError as error:
        raise IronbenchError(f"{path} is not a load spec: {why_refused(error, LoadSpec)}.") from error
    background = spec.background
    checks = (
        (
            "generator",
            spec.generator,
            0 <= spec.generator < spec.generators,
            "from 0 to below generators",
        ),
        ("run", spec.run, bool(spec.run), "not empty"),
        *_load_checks("load", spec.load),
        *(() if background is None else _load_checks("background.load", background.load)),
        (
            "processes",
            spec.processes,
            spec.processes is None or 1 <= spec.processes <= spec.load.threads,
            "from 1 to load.threads",
        ),
        ("warmup_s", spec.warmup_s, 0 <= spec.warmup_s < math.inf, "0 or more"),
        ("window_s", spec.window_s, 0 < spec.window_s < math.inf, "above 0"),
        ("idle_s", spec.idle_s, 0 <= spec.idle_s < math.inf, "0 or more"),
        ("timeout_s", spec.timeout_s, 0 < spec.timeout_s < math.inf, "above 0"),
        ("drain_s", spec.drain_s, 0 <= spec.drain_s < math.inf, "0 or more"),
    )
    for name, value, ok, allowed in checks:
        if not ok:
            raise IronbenchError(f"{name} of {path} is {value!r}; it must be {allowed}.")
    for one in (spec.load, *(() if background is None else (background.load,))):
        for reason in share_refusals(one, spec.generators):
            raise IronbenchError(f"{path} cannot be shared: {reason}.")
    if spec.search is not None and (
        background is not None or spec.requests_file is not None or spec.generators > 1
    ):
        raise IronbenchError(
            f"{path} has a search, which has no background, no file of requests, and one generator."
        )
    if background is not None:
        for reason in background_refusals(spec.load, background.load, spec.window_s):
            raise IronbenchError(f"{path} cannot have this background: {reason}.")
    return spec


def _load_checks(where: str, load: Load) -> tuple[tuple[str, object, bool, str], ...]:
    """Return name, value, whether it can be used, and what can, of each field with limits."""
    return (
        (f"{where}.rate", load.rate, 0 < load.rate < math.inf, "above 0"),
        (f"{where}.connections", load.connections, load.connections >= 1, "1 or more"),
        (
            f"{where}.threads",
            load.threads,
            1 <= load.threads <= load.connections,
            f"from 1 to {where}.connections",
        ),
        (
            f"{where}.connections",
            load.connections,
            load.connections % max(1, load.threads) == 0,
            f"a multiple of {where}.threads (wrk2 would leave out the rest)",
        ),
    )


def read_users(path: Path) -> list[dict[str, str]]:
    """Read the seeded users: one JSON object a line, with texts or whole numbers as values."""
    users = []
    for number, line in enumerate(_read(path, "users file").splitlines(), 1):
        if not line.strip():
            continue
        try:
            user = msgspec.json.decode(line, type=dict[str, str | int])
        except msgspec.DecodeError as error:
            raise IronbenchError(
                f"Line {number} of {path} is not a JSON object of texts and whole numbers: {error}."
            ) from error
        users.append({name: str(value) for name, value in user.items()})
    if not users:
        raise IronbenchError(
            f"The users file {path} is empty; seed the users and write one JSON object a line."
        )
    return users


def _resolve_base_url(base_url: str) -> tuple[Address, str]:
    """Return the address and the value of the Host header."""
    scheme, _, path = base_url.partition("://")
    if scheme == "http+unix":
        # As in the libraries for Docker's socket: the path stands where the host does.
        path = unquote(path.rstrip("/"))
        if not path.startswith("/"):
            raise IronbenchError(f"base_url is {base_url!r}; it must be {_URLS}.")
        return Address(socket.AF_UNIX, path), "localhost"
    host, authority, port = split_base_url(base_url)
    try:
        return resolve(host, port), authority
    except OSError as error:
        raise IronbenchError(
            f"The host {host} of base_url cannot be resolved ({error.strerror}); give a name or an address."
        ) from error


def split_base_url(base_url: str) -> tuple[str, str, int]:
    """Return host, value of the Host header, and port of an http URL without a path."""
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError:
        url = host = port = None
    if (
        url is None
        or url.scheme != "http"
        or not host
        or url.path not in {"", "/"}
        or url.query
        or "@" in url.netloc
    ):
        raise IronbenchError(f"base_url is {base_url!r}; it must be {_URLS}.")
    return host, url.netloc, port if port is not None else 80


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IronbenchError(f"The {what} {path} cannot be read: {error.strerror}.") from error
