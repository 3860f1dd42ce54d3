"""Which servers and bursts the chosen sections need."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec
from auth_app.variants import LADDER, LEAVE_ONE_OUT, VARIANTS
from ironbench.errors import IronbenchError
from ironbench.records import SCHEMA

from .endpoints import AUTH, ENDPOINTS, SERIALIZERS
from .records import Burst, Plan, Server

LOCKS = ("article", "current")
TIMED: tuple[str, ...] = ("baseline", "final", "beyond")
TIMED_PAIRS = 200
"""In the whole run, spread over its blocks."""


def _bursts(servers: Iterable[str], endpoints: Iterable[str] = AUTH) -> list[Burst]:
    endpoints = list(endpoints)
    return [Burst(server, endpoint) for server in servers for endpoint in endpoints]


def _passwords() -> list[Burst]:
    bare = _bursts(["argon2"], [name for name in ENDPOINTS if name.startswith("argon2-")])
    return _bursts(["final", "beyond"], ["signin", "signup"]) + bare


SECTIONS: dict[str, Callable[[], list[Burst]]] = {
    "me": lambda: [*_bursts(["final", "beyond"], ["me"]), Burst("ping", "ping")],
    "passwords": _passwords,
    "ladder": lambda: _bursts([*LADDER, *LEAVE_ONE_OUT]),
    "handwritten": lambda: _bursts(["final", "final-again", "handwritten-final"]),
    "serialization": lambda: _bursts([f"serialization-{lock}" for lock in LOCKS], SERIALIZERS),
    "timing": list,
}
"""What each part of the report needs. The section timing has no bursts: it is about single answers."""


def make_plan(*, sections: list[str], blocks: int, seed: int, lock: str) -> Plan:
    """Plan a run; ``lock`` names the versions of all servers but those that compare locks.

    Raises IronbenchError for a section or a number of blocks that cannot be.
    """
    sections = sections or list(SECTIONS)
    for section in sections:
        if section not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise IronbenchError(f"there is no section '{section}': choose from {known}.")
    if blocks < 1:
        raise IronbenchError(f"{blocks} blocks measure nothing: ask for 1 or more; 10 are wanted.")
    bursts = list(dict.fromkeys(burst for section in sections for burst in SECTIONS[section]()))
    timed = list(TIMED) if "timing" in sections else []
    servers = {name: _server(name, lock) for name in [*(burst.server for burst in bursts), *timed]}
    created = datetime.now(UTC)
    return Plan(
        schema=SCHEMA,
        id=f"{created:%Y%m%dT%H%M%SZ}",
        created=f"{created:%Y-%m-%d %H:%M:%S} UTC",
        seed=seed,
        blocks=blocks,
        sections=sections,
        servers=servers,
        bursts=bursts,
        timed=timed,
        pairs=-(-TIMED_PAIRS // blocks),
        ladder=list(LADDER),
        leave_one_out=list(LEAVE_ONE_OUT),
        levers={
            server.variant: msgspec.to_builtins(VARIANTS[server.variant])
            for server in servers.values()
            if server.variant
        },
    )


def _server(name: str, lock: str) -> Server:
    if name in ("handwritten-final", "ping", "argon2"):
        return Server(runs=name, lock=lock)
    if name.startswith("serialization-"):
        return Server(runs="variant", variant="final", lock=name.removeprefix("serialization-"))
    return Server(runs="variant", variant="final" if name == "final-again" else name, lock=lock)
