"""Ending whatever a session left on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.host import system
from ironbench.host.place import app_pattern, transient_patterns

if TYPE_CHECKING:
    from ironbench.records import Host


def stop(host: Host) -> dict:
    """Stop every session's transient units and every instance of the app."""
    pattern = app_pattern(host)
    return {"stopped": stop_transient() + (system.stop(pattern) if pattern else [])}


def stop_transient() -> list[str]:
    """Stop every session's transient units and forget how they ended."""
    return [unit for pattern in transient_patterns() for unit in system.stop(pattern)]
