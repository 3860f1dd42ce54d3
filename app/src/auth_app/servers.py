"""The command lines of the servers that can run the application."""

import sys
from pathlib import Path

import msgspec

FACTORY = "auth_app.asgi:create_app"
GRANIAN_LOG = Path(__file__).with_name("granian_log.json")
"""Granian's messages on stderr: its default is stdout, which is the request log's."""

STOP_S = 5
"""How long workers may take to answer what they have begun when they are told to stop."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and how many processes answer."""

    host: str
    port: int
    workers: int
    backlog: int
    """Length of the queue of connections that wait to be accepted."""

    def options(self) -> list[str]:
        """As both servers spell them."""
        return [
            *("--host", self.host),
            *("--port", str(self.port)),
            *("--workers", str(self.workers)),
            *("--backlog", str(self.backlog)),
        ]


def uvicorn(listener: Listener) -> list[str]:
    """Command line of the article's server."""
    return [
        _script("uvicorn"),
        *("--factory", FACTORY),
        *listener.options(),
        *("--loop", "uvloop"),
        *("--http", "httptools"),
        *("--timeout-graceful-shutdown", str(STOP_S)),
        "--no-access-log",
        *("--log-level", "warning"),
    ]


def granian(listener: Listener) -> list[str]:
    """Command line of the server in Rust; on Linux each of its workers has a listening socket of its own."""
    return [
        _script("granian"),
        *("--factory", FACTORY),
        *listener.options(),
        *("--interface", "asgi"),
        *("--loop", "uvloop"),
        "--no-access-log",
        *("--log-level", "warning"),
        *("--log-config", str(GRANIAN_LOG)),
        # A worker that is told to stop while it starts forgets that it was told.
        *("--workers-kill-timeout", str(STOP_S)),
    ]


def _script(name: str) -> str:
    """Path of a command of the virtualenv that this runs in."""
    return str(Path(sys.executable).with_name(name))
