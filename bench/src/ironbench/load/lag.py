"""Splits a request's send lag into the generator's own part and the system's."""

from __future__ import annotations

import msgspec


class Lag(msgspec.Struct, frozen=True):
    """Nanoseconds; own + system = sent - due."""

    own: int
    system: int


def split(due_ns: int, noticed_ns: int, free_ns: int, sent_ns: int) -> Lag:
    """Split ``sent_ns - due_ns`` by who caused it.

    ``noticed_ns`` is when the generator's timer first ran at or after the due time, ``free_ns`` when
    the connection that carried the request became free. The system caused the wait from the moment
    when the generator had noticed that the request was due until it had read the answer that made
    the connection free. All the rest is the generator's: what fell due while it stood still waited
    for it, and answers that it did not read in that time are no proof of a busy connection.
    """
    system = max(0, free_ns - min(noticed_ns, sent_ns))
    return Lag(own=sent_ns - due_ns - system, system=system)
