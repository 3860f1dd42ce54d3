"""The begin and the end of a plan on a host: who may measure here, what was left, and what is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.host import holder, one_worker, quiet, system
from ironbench.host.collect import left
from ironbench.host.place import PREPARE, app_pattern, transient_patterns
from ironbench.records import Collected, Record

if TYPE_CHECKING:
    from ironbench.records import Hold, Host


class Held(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench host hold``."""

    left: Collected | None
    """What a session of this plan left on the host, packed; whether it is sealed the controller knows."""


def hold(host: Host, wanted: Hold) -> Held:
    """Hold this host for a plan, end what an interrupted session left, and make the host quiet if that is wanted.

    Raises IronbenchError, and changes nothing, while another plan holds the host.
    """
    holder.take(host, wanted)
    # The last command of an interrupted playbook may still wait for its session's end: nothing is stopped before that.
    found = left(host, wanted.plan)
    _end_sessions(host, app=wanted.app)
    if wanted.quiet:
        quiet.quiet(host)
    else:
        quiet.unquiet(host)
    return Held(left=found)


def release(host: Host, of: Hold | None) -> dict[str, bool]:
    """End the sessions, put back what kept the host quiet, and hold it no more; None: whoever holds it.

    Nothing is touched, and the answer is False, where another plan holds the host by now.
    """
    with holder.alone():
        lease = holder.read()
        if of is not None and (lease is None or not holder.is_same(lease.hold, of)):
            return {"released": False}
        _end_sessions(host, app=lease is None or lease.hold.app)
        quiet.unquiet(host)
        holder.PATH.unlink(missing_ok=True)
    return {"released": True}


def _end_sessions(host: Host, *, app: bool) -> None:
    """Stop what sessions left running; what they have handed in stays, since it may not be sealed yet."""
    # First who would start the others again.
    system.stop(*transient_patterns([PREPARE]))
    system.stop(*transient_patterns())
    one_worker.revert(host)
    if app and (pattern := app_pattern(host)):
        system.stop(pattern)
