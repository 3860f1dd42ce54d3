"""The command ``ironbench layout``."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from ironbench.errors import IronbenchError
from ironbench.files import NOT_JSON
from ironbench.host import topology as host_topology
from ironbench.layout.advice import Advice, Judged, advise, judge
from ironbench.layout.findings import OWNERS
from ironbench.layout.topology import understand
from ironbench.records import SCHEMA, CoreLayout
from ironbench.yaml_files import complaint, read_bytes

if TYPE_CHECKING:
    import argparse

FOUND = 1
STDIN = Path("-")
RECORDED = Path()
"""Stands for the layout in the file of --from."""
WIDTH = 110
FORM = 'name, app, database, cache, load_generator and housekeeping, CPU lists in quotes ("0"), as in inventory/sandbox'


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of --from's file; a bundle's environment/HOST.json has it among more."""

    cpu_model: str
    topology: list[dict[str, str]]
    layout: dict[str, Any] | None = None
    schema: int = SCHEMA


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of ``ironbench layout --judge --json``."""

    findings: list[Judged]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench layout``."""
    parser = subparsers.add_parser(
        "layout",
        help="say which CPUs to give to whom, or what is wrong with a layout",
        description="Print the core layout that suits this host, as YAML for group_vars, with its reasons. With "
        "--judge: say what is wrong with a layout there; exit status 1: some of it can be avoided.",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="a recorded host: environment/HOST.json of a bundle, or the like (- for stdin)",
    )
    parser.add_argument(
        "--judge",
        type=Path,
        nargs="?",
        const=RECORDED,
        metavar="FILE",
        help="YAML with core_layout, such as group_vars/all.yml; without FILE the layout of the recorded host",
    )
    parser.add_argument(
        "--owner",
        dest="owners",
        action="append",
        choices=OWNERS,
        help="whom the judged host has, once for each; all of them without it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=show)


def show(args: argparse.Namespace) -> int:
    """Print the advice, or what is wrong with a layout."""
    recorded = _recorded(args.source)
    topology = understand(recorded.cpu_model, recorded.topology)
    if args.judge is None:
        advice = advise(topology)
        print(msgspec.json.encode(advice).decode() if args.json else text(advice))
        return 0
    found = judge(topology, _chosen(args.judge, recorded), args.owners or OWNERS)
    if args.json:
        print(msgspec.json.encode(Judgement(findings=found)).decode())
    else:
        for one in found:
            print(f"{'can' if one.avoidable else 'cannot'} be avoided here: {one.detail}. [{one.rule}]")
        if not found:
            print("nothing is wrong with this layout")
    return FOUND if any(one.avoidable for one in found) else 0


def text(advice: Advice) -> str:
    """Return the advice as YAML for group_vars, its reasons as comments."""
    lines = [
        line
        for reason in advice.reasons
        for line in textwrap.wrap(reason, WIDTH, initial_indent="# ", subsequent_indent="#   ")
    ]
    layout = advice.layout
    lines += ["core_layout:", f"  name: {layout.name}"]
    if layout.packed:
        lines.append("  packed: true")
    for owner in OWNERS:
        cpus = getattr(layout, owner)
        lines.append(f'  {owner}: "{cpus}"' if cpus.isdigit() else f"  {owner}: {cpus}")
    return "\n".join(lines)


def _recorded(source: Path | None) -> Recorded:
    if source is None:
        return Recorded(cpu_model=host_topology.cpu_model(), topology=host_topology.rows())
    try:
        raw = sys.stdin.buffer.read() if source == STDIN else source.read_bytes()
        recorded = msgspec.json.decode(raw, type=Recorded)
    except OSError as error:
        raise IronbenchError(f"cannot read {source}: {error.strerror}.") from error
    except NOT_JSON as error:
        raise IronbenchError(f"{source} tells of no host's CPUs: {error}.") from error
    if recorded.schema != SCHEMA:
        raise IronbenchError(
            f"{source} has schema {recorded.schema}, and this ironbench reads schema {SCHEMA} only."
        )
    return recorded


def _chosen(path: Path, recorded: Recorded) -> CoreLayout:
    if path == RECORDED:
        where, told = "the recorded host", recorded.layout
    else:
        try:
            raw = read_bytes(path)
            if problem := complaint(raw):
                raise IronbenchError(f"{path} is no core layout: {problem}.")
            where, told = str(path), yaml.safe_load(raw)
        except OSError as error:
            raise IronbenchError(f"cannot read {path}: {error.strerror}.") from error
        except (yaml.YAMLError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise IronbenchError(f"{path} is not YAML: {problem}.") from error
        told = told.get("core_layout") if isinstance(told, dict) else None
    if told is None:
        raise IronbenchError(f"{where} has no core layout: give a file with core_layout, which has {FORM}.")
    try:
        return msgspec.convert(told, CoreLayout)
    except msgspec.ValidationError as error:
        raise IronbenchError(f"the core layout of {where} is not one ({error}): it has {FORM}.") from error
