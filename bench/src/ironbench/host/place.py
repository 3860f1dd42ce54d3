"""Names of what a session has on a host: its directory, its archive, its transient units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, write_atomic
from ironbench.host.awake import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ironbench.records import Host, Service, Session

DESCRIPTION = Path("/etc/ironbench/host.json")

OBSERVERS = ("sar", "sampler")
PLACEMENT = "placement"
AWAKE = "awake"
UNIT_KINDS = (*OBSERVERS, AWAKE, PLACEMENT, "load")
PREPARE = "prepare"
"""The unit that makes the host ready for a session while the one before is still being packed and sealed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one session lives on this host."""

    host: Host
    session: Session
    description: Path = DESCRIPTION
    """Where ``host`` was read."""

    def __post_init__(self) -> None:
        for what, name in (("key", self.key), ("variant", self.session.variant)):
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
                raise IronbenchError(
                    f"the run's {what} {name!r} cannot be part of a unit's name; "
                    "use letters, digits, '_', '.' and '-' only."
                )

    @property
    def key(self) -> str:
        return self.session.run.key

    @property
    def directory(self) -> Path:
        return Path(self.host.state_dir, "sessions", self.key)

    @property
    def began(self) -> Path:
        """When the session began to be prepared, in nanoseconds."""
        return self.directory / "began.txt"

    @property
    def answer(self) -> Path:
        """What was collected, kept so that it can be handed in again."""
        return self.directory.with_name(f"{self.key}.collected.json")

    @property
    def observers(self) -> list[str]:
        """Kinds of the units that must live through the window."""
        awake = self.host.keep_awake and DEVICE.exists()
        return [*OBSERVERS, *([AWAKE] if awake else [])]

    @property
    def order(self) -> Path:
        """What the unit that prepares reads: the session. For root only, since it may hold a token."""
        return self.directory.with_name(f"{self.key}.prepare.json")

    @property
    def complaint(self) -> Path:
        """What the unit that prepares printed."""
        return self.directory.with_name(f"{self.key}.prepare.txt")

    @property
    def users(self) -> Path:
        return self.directory / "users.jsonl"

    @property
    def spec(self) -> Path:
        return self.directory / "spec.json"

    @property
    def duty(self) -> Path:
        """What the placement service is to do, its token included."""
        return self.directory / "placement.json"

    @property
    def clocks(self) -> Path:
        """The other hosts' clocks, as this one read them."""
        return self.directory / "clocks.json"

    @property
    def sar_data(self) -> Path:
        return self.directory / "sar.bin"

    @property
    def slow_callbacks(self) -> Path:
        """What asyncio's debug mode wrote, as the journal's JSON lines."""
        return self.directory / "slow_callbacks.jsonl"

    @property
    def cgroup_record(self) -> Path:
        return self.directory / "cgroup.jsonl"

    def session_unit(self, kind: str) -> str:
        """Name of the session's transient unit of a kind in UNIT_KINDS, or PREPARE."""
        return f"ironbench-{kind}-{self.key}.service"

    def service_unit(self, service: Service) -> str:
        """Name of a service's unit for the session's variant."""
        return service.unit.replace("{variant}", self.session.variant)

    def keep_session(self) -> None:
        """Write the session beside its outputs, without the token."""
        kept = msgspec.structs.replace(self.session, placement_token="")
        write_atomic(self.directory / "session.json", encode_record(kept))

    def make_directory(self) -> None:
        """Create the session's directory, for root only."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def transient_patterns(kinds: Iterable[str] = UNIT_KINDS) -> list[str]:
    """Patterns of all transient units of some kinds of any session."""
    return [f"ironbench-{kind}-*.service" for kind in kinds]


def app_pattern(host: Host) -> str | None:
    """Pattern of the app's unit for every variant; None where no app runs."""
    units = [service.unit for service in host.services if service.name == "app"]
    return units[0].replace("{variant}", "*") if units else None
