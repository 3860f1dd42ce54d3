"""What is planned, what one block leaves behind, and where it was measured."""

from typing import Any, Literal

import msgspec
from ironbench.records import HostFacts, Record

PLAN = "plan.json"
ENVIRONMENT = "environment.json"
BLOCKS = "block-*.json"


class Server(Record, frozen=True, kw_only=True):
    """One server process; it lives for one block."""

    runs: Literal["variant", "handwritten-final", "ping", "argon2"]
    variant: str = ""
    lock: str
    """Name of the lock file that its virtualenv was made from."""


class Burst(Record, frozen=True, order=True):
    """Requests to one endpoint of one server, one after another."""

    server: str
    endpoint: str


class Plan(Record, frozen=True, kw_only=True):
    schema: int
    id: str
    created: str
    seed: int
    blocks: int
    sections: list[str]
    servers: dict[str, Server]
    bursts: list[Burst]
    """In each block as often as its endpoint has rounds, in random order within the endpoint's task."""
    timed: list[str]
    """Servers whose answers to a wrong password and to an unknown email are timed."""
    pairs: int
    """Of such answers, per server and block."""
    ladder: list[str]
    leave_one_out: list[str]
    levers: dict[str, dict[str, Any]]
    """Of each variant that takes part."""


class Sample(Record, frozen=True, kw_only=True):
    """One burst as measured. Nothing is taken off yet."""

    server: str
    endpoint: str
    requests: int
    busy_s: float
    """From the first request's first byte to the last answer's last."""
    wall_s: float
    """Between the two readings of the counters, which lie in quiet time around the burst."""
    cpu_us: dict[str, int]
    """CPU time in ``wall_s`` of ``app``, which is the server, and of the services by name."""


class Timings(Record, frozen=True, kw_only=True):
    """Wall time of refused sign-ins in milliseconds, alternating in random order."""

    wrong_password: list[float]
    unknown_email: list[float]


class Block(Record, frozen=True, kw_only=True):
    schema: int
    number: int
    started: str
    took_s: float
    samples: list[Sample]
    """In the order in which they were measured."""
    timings: dict[str, Timings]
    """By server."""
    idle_us_per_s: dict[str, float]
    """CPU time of each server and service in a second in which nobody asks for anything."""
    foreign: float
    """Part of the servers' CPU, while the bursts ran, that went to anything but the servers."""
    steal: float
    """Per cent of that CPU which the hypervisor took."""


class Environment(Record, frozen=True, kw_only=True):
    schema: int
    facts: HostFacts
    app_cpu: int
    """Where the servers run."""
    driver_cpus: list[int]
    service_cpus: dict[str, str]
    prepared_statements: bool
    """Whether the settings say that PgBouncer follows prepared statements."""
    versions: dict[str, dict[str, str]]
    """Lock -> package -> version; the interpreter's as ``python``."""


class MeasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the playbook hands to the host for one block."""

    plan: Plan
    block: int
