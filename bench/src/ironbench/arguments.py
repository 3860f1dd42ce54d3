"""Arguments on the command line that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    import argparse


def refuse_too_low(args: argparse.Namespace, **lowest: int) -> None:
    """Raise IronbenchError for the first of the given options that is below its lowest value; None is not given."""
    for name, least in lowest.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise IronbenchError(f"--{name} {value} is too low; give {least} or more.")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Add ``--host``, which says whose lines stdin has: the inventory names the hosts, and not what they hand in."""
    parser.add_argument(
        "--host",
        action="append",
        required=True,
        dest="hosts",
        metavar="NAME",
        help="of the inventory, once for each line of stdin and in the same order",
    )
