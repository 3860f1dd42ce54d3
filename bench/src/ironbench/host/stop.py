"""Ending whatever a session left on this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.host import one_worker, system
from ironbench.host.place import PREPARE, app_pattern, transient_patterns

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import Host


def stop(host: Host) -> dict:
    """Stop every session's transient units and every instance of the app, and forget what sessions handed in."""
    # First who would start the others again.
    stopped = system.stop(*transient_patterns([PREPARE])) + stop_transient()
    pattern = app_pattern(host)
    one_worker.revert(host)
    for path in Path(host.state_dir, "sessions").glob("*.collected.json"):
        path.unlink()
    return {"stopped": stopped + (system.stop(pattern) if pattern else [])}


def stop_transient() -> list[str]:
    """Stop every session's observers and generator and forget how they ended."""
    return system.stop(*transient_patterns())


def drop(place: Place) -> dict:
    """Do the same for the plan that holds this host."""
    return stop(place.host)
