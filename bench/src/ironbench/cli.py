"""The command ``ironbench``: picks the command's module and imports no other."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
from typing import TYPE_CHECKING, ClassVar, TextIO

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "plan": ("ironbench.commands", "make a plan and its bundle"),
    "pending": ("ironbench.commands", "tell which run comes next"),
    "environment": ("ironbench.commands", "keep what a host tells of itself in a bundle"),
    "hold": ("ironbench.hold", "say for the hosts who leads a plan; one playbook at a time"),
    "seal": ("ironbench.commands", "judge and seal the pending run"),
    "lost": ("ironbench.commands", "note that the pending run's session came to nothing"),
    "report": ("ironbench.commands", "compute the report from a bundle"),
    "schema": ("ironbench.commands", "print the JSON schema of results.json"),
    "compare": ("ironbench.compare.cli", "hold bundles of two times or two hosts against each other"),
    "lint": ("ironbench.lint.cli", "say what is wrong with published tables of results"),
    "import": ("ironbench.importing.cli", "read published logs of wrk2 and sar"),
    "layout": ("ironbench.layout.cli", "say which CPUs to give to whom, or judge a layout"),
    "load": ("ironbench.load.cli", "run one load window against a server"),
    "selftest": ("ironbench.selftest.cli", "prove a load generator against servers with known behaviour"),
    "flamegraph": ("ironbench.flame.cli", "plan and keep recordings by py-spy"),
    "query-plan": (
        "ironbench.query_plan.cli",
        "measure plans of a query under settings of PostgreSQL's planner",
    ),
    "host": ("ironbench.host.cli", "what the playbooks run on a host"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: that of the error, or what the command says.

    What it prints holds no control characters but line feeds and tabs, whoever wrote the text.
    """
    with contextlib.redirect_stdout(_Visible(sys.stdout)), contextlib.redirect_stderr(_Visible(sys.stderr)):
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        args = _parser(command).parse_args(arguments)
        return args.func(args)
    except IronbenchError as error:
        print(f"ironbench: {error}", file=sys.stderr)
        return error.status


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Build the parser with the arguments of ``command`` only."""
    parser = argparse.ArgumentParser(
        prog="ironbench",
        description="Performance test bench: plans, load generation, validity and report.",
        epilog="Every command explains itself: ironbench COMMAND --help.",
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = COMMANDS[command][0] if command in COMMANDS else None
    for name, (module, summary) in COMMANDS.items():
        if module != chosen:
            subparsers.add_parser(name, help=summary)
    if chosen is not None:
        importlib.import_module(chosen).add_parser(subparsers)
    return parser


_HIDDEN = {
    *range(0x20),
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
} - set(b"\n\t")
"""Control characters, line separators and those that change the direction of writing."""


class _Visible(io.TextIOBase):
    r"""Writes what a host, a log or a study says without what a terminal would obey.

    Such a character is written as ``\u001b``, which within JSON means the character itself.
    """

    _TABLE: ClassVar = {code: f"\\u{code:04x}" for code in _HIDDEN}

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; return the number of its characters."""
        self._stream.write(text.translate(self._TABLE))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()


class _Version(argparse.Action):
    """Looks the version up only when asked, since importlib.metadata is slow to import."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import importlib.metadata  # noqa: PLC0415 - see the docstring

        print(f"ironbench {importlib.metadata.version('ironbench')}")
        parser.exit()
