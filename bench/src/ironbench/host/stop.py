"""Ending whatever a session left on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.host import one_worker, system
from ironbench.host.place import PREPARE, app_pattern, transient_patterns

if TYPE_CHECKING:
    from ironbench.records import Host


def stop(host: Host) -> dict:
    """Stop every session's transient units and every instance of the app."""
    # First who would start the others again.
    stopped = system.stop(*transient_patterns([PREPARE])) + stop_transient()
    pattern = app_pattern(host)
    one_worker.revert(host)
    return {"stopped": stopped + (system.stop(pattern) if pattern else [])}


def stop_transient() -> list[str]:
    """Stop every session's observers and generator and forget how they ended."""
    return system.stop(*transient_patterns())
